"""History of a search: probabilities and decoded architecture of every epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.work_dir import HISTORY_FILE

_MIN_CHANGE = 1e-3
"""Change of a mean entropy below which it counts as constant; a thousandth of its range, far less
than the architecture parameters of a converging search change it."""

_WINDOW = 5
"""Epochs over which this change is measured; a single epoch with little change is no alarm."""


@dataclass(frozen=True)
class Epoch:
    """State of a search after an epoch.

    Attributes:
        epoch: Number of completed epochs.
        searching: Whether the epoch had architecture steps.
        probabilities: Probabilities of the options of every decision.
        architecture: Decoded architecture.
        loss: Mean loss of the architecture steps on half B; None without steps.
        cost: Cost of the decoded architecture; None without a cost target.
    """

    epoch: int
    searching: bool
    probabilities: tuple[tuple[float, ...], ...]
    architecture: Architecture
    loss: float | None = None
    cost: float | None = None


@dataclass
class SearchHistory:
    """Decisions of a supernet and their state after every epoch.

    Attributes:
        supernet: Class name of the supernet.
        decisions: Decisions of the supernet.
        epochs: States after the completed epochs.
    """

    supernet: str
    decisions: tuple[Decision, ...]
    epochs: list[Epoch] = field(default_factory=list)

    def entropies(self, index: int = -1) -> dict[str, float]:
        """Return the mean normalised entropy by kind of decision, from 0 to 1 (uniform)."""
        values: dict[str, list[float]] = {}
        for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True):
            options = (p[0], 1 - p[0]) if decision.kind == 'gate' else p
            if len(options) > 1:
                entropy = -sum(q * math.log(q) for q in options if q > 0) / math.log(len(options))
                values.setdefault(decision.kind, []).append(entropy)
        return {kind: sum(v) / len(v) for kind, v in values.items()}

    def operation_shares(self, index: int = -1) -> dict[str, float]:
        """Return the mean probability of each operation over the nodes that offer it."""
        shares: dict[str, list[float]] = {}
        for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True):
            if decision.kind == 'operation':
                for name, q in zip(decision.options, p, strict=True):
                    shares.setdefault(str(name), []).append(q)
        return {name: sum(values) / len(values) for name, values in shares.items()}

    def gates(self, index: int = -1) -> tuple[int, int]:
        """Return the number of open gates (probability above 0.5), and the number of all gates."""
        open_ = [
            p[0] > 0.5
            for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True)
            if decision.kind == 'gate'
        ]
        return sum(open_), len(open_)

    @property
    def unchanged(self) -> int:
        """Number of latest epochs with architecture steps that did not change the architecture."""
        searching = [epoch for epoch in self.epochs if epoch.searching]
        count = 0
        for earlier, later in zip(searching[-2::-1], searching[:0:-1], strict=False):
            if earlier.architecture != later.architecture:
                break
            count += 1
        return count

    def alarms(self) -> list[str]:
        """Return warnings for a search that collapses or does not converge, with remedies."""
        if not self.epochs or not self.epochs[-1].searching:
            return []
        found = []
        tops = [
            decision.options[p.index(max(p))]
            for decision, p in zip(self.decisions, self.epochs[-1].probabilities, strict=True)
            if decision.kind == 'operation'
        ]
        if len(tops) > 2 and len(set(tops)) == 1:
            found.append(
                f'{tops[0]} is the most probable operation of all {len(tops)} nodes: the search '
                'collapses to one operation. Start architecture steps later (--arch-start), or '
                'decrease the learning rate of the architecture parameters.'
            )
        open_gates, gates = self.gates()
        if gates > 2 and open_gates in (0, gates):
            found.append(
                f'{"all" if open_gates else "none"} of the {gates} gated edges are selected: the '
                'gates decide nothing. Check that the loss on half B decreases before architecture '
                'steps begin (--arch-start).'
            )
        searching = [i for i, epoch in enumerate(self.epochs) if epoch.searching]
        if len(searching) > _WINDOW:
            now, then = self.entropies(searching[-1]), self.entropies(searching[-1 - _WINDOW])
            found += [
                f'the entropy of the {kind} decisions has stayed at {now[kind]:.3f} for '
                f'{_WINDOW} epochs of architecture steps: too few steps for the number of tiles. '
                'More epochs may help; dnas select compares trained networks instead.'
                for kind in now
                if now[kind] > 0.1 and abs(now[kind] - then[kind]) < _MIN_CHANGE
            ]
        return found

    def to_json(self) -> str:
        """Return the history as JSON text; inverse of :meth:`from_json`."""
        document = {
            'supernet': self.supernet,
            'decisions': [
                {'kind': d.kind, 'node': d.node, 'options': d.options} for d in self.decisions
            ],
            'epochs': [
                {
                    'epoch': e.epoch,
                    'searching': e.searching,
                    'loss': e.loss,
                    'cost': e.cost,
                    'probabilities': e.probabilities,
                    'architecture': e.architecture.to_document(),
                }
                for e in self.epochs
            ],
        }
        return json.dumps(document) + '\n'

    @classmethod
    def from_json(cls, text: str) -> SearchHistory:
        """Return the history of a JSON text.

        Raises:
            UserError: The text is not the history of a search.
        """
        try:
            document = json.loads(text)
            return cls(
                document['supernet'],
                tuple(
                    Decision(d['kind'], tuple(d['node']), _as_tuples(d['options']))
                    for d in document['decisions']
                ),
                [_epoch(e) for e in document['epochs']],
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise UserError(f'not the history of a search ({error!r})') from None

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``history.json`` into a folder."""
        write_text(Path(folder) / HISTORY_FILE, self.to_json())

    @classmethod
    def load(cls, folder: str | os.PathLike) -> SearchHistory:
        """Read the ``history.json`` of a folder.

        Raises:
            UserError: The file is missing or damaged.
        """
        path = Path(folder) / HISTORY_FILE
        try:
            return cls.from_json(path.read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise UserError(f'{path}: no such file; a search writes it after every epoch') from None
        except UserError as error:
            raise UserError(f'{path}: {error}') from None


def _epoch(document: dict[str, Any]) -> Epoch:
    return Epoch(
        document['epoch'],
        document['searching'],
        tuple(tuple(p) for p in document['probabilities']),
        load_architecture(document['architecture']),
        document['loss'],
        document.get('cost'),
    )


def _as_tuples(options: Sequence) -> tuple:
    return tuple(tuple(o) if isinstance(o, list) else o for o in options)

"""Course of a search: every epoch's probabilities and architecture, as one JSON file."""

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

HISTORY_FILE = 'history.json'
_STILL = 1e-3
_PATIENCE = 5


@dataclass(frozen=True)
class Epoch:
    """The state of a search after an epoch.

    Attributes:
        epoch: Number of epochs that are done.
        searching: Whether architecture steps were made in the epoch.
        probabilities: Probabilities of every decision's options.
        architecture: Architecture that the probabilities decode to.
        loss: Mean loss of the architecture steps, on half B.
        cost: Cost of the decoded architecture; None where the search has no target.
    """

    epoch: int
    searching: bool
    probabilities: tuple[tuple[float, ...], ...]
    architecture: Architecture
    loss: float | None = None
    cost: float | None = None


@dataclass
class SearchHistory:
    """Decisions of a supernet, and the course of their probabilities.

    Attributes:
        supernet: Class name of the supernet.
        decisions: Decisions that are open.
        epochs: Epochs so far.
    """

    supernet: str
    decisions: tuple[Decision, ...]
    epochs: list[Epoch] = field(default_factory=list)

    def entropies(self, index: int = -1) -> dict[str, float]:
        """Return the mean entropy by kind of decision, 1 where all options are equally probable."""
        values: dict[str, list[float]] = {}
        for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True):
            options = (p[0], 1 - p[0]) if decision.kind == 'gate' else p
            if len(options) > 1:
                entropy = -sum(q * math.log(q) for q in options if q > 0) / math.log(len(options))
                values.setdefault(decision.kind, []).append(entropy)
        return {kind: sum(v) / len(v) for kind, v in values.items()}

    def operation_shares(self, index: int = -1) -> dict[str, float]:
        """Return the mean probability of each operation over the nodes that can have it."""
        shares: dict[str, list[float]] = {}
        for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True):
            if decision.kind == 'operation':
                for name, q in zip(decision.options, p, strict=True):
                    shares.setdefault(str(name), []).append(q)
        return {name: sum(values) / len(values) for name, values in shares.items()}

    def gates(self, index: int = -1) -> tuple[int, int]:
        """Return the number of gated edges that are kept, and the number of all."""
        open_ = [
            p[0] > 0.5
            for decision, p in zip(self.decisions, self.epochs[index].probabilities, strict=True)
            if decision.kind == 'gate'
        ]
        return sum(open_), len(open_)

    @property
    def unchanged(self) -> int:
        """Number of epochs of architecture steps for which the architecture has been the same."""
        searching = [epoch for epoch in self.epochs if epoch.searching]
        count = 0
        for earlier, later in zip(searching[-2::-1], searching[:0:-1], strict=False):
            if earlier.architecture != later.architecture:
                break
            count += 1
        return count

    def alarms(self) -> list[str]:
        """Return signs that the search collapses or stands still, each with what to do."""
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
                f'{tops[0]} is the first choice of all {len(tops)} nodes: the search collapses to '
                'one operation. Let it draw evenly for longer (--arch-start), or lower the '
                'learning rate of the architecture parameters.'
            )
        kept, gates = self.gates()
        if gates > 2 and kept in (0, gates):
            found.append(
                f'{"all" if kept else "none"} of the {gates} gated edges are kept: the gates '
                'decide nothing. Look at the loss on half B: it should fall before architecture '
                'steps begin (--arch-start).'
            )
        searching = [i for i, epoch in enumerate(self.epochs) if epoch.searching]
        if len(searching) > _PATIENCE:
            now, then = self.entropies(searching[-1]), self.entropies(searching[-1 - _PATIENCE])
            found += [
                f'the entropy of the {kind} decisions has stayed at {now[kind]:.3f} for '
                f'{_PATIENCE} epochs of architecture steps: too few steps for so few tiles. More '
                'epochs may help; --strategy halving decides by real trainings.'
                for kind in now
                if now[kind] > 0.1 and abs(now[kind] - then[kind]) < _STILL
            ]
        return found

    def to_json(self) -> str:
        """Return the history as text; inverse of :meth:`from_json`."""
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
        """Read a history from text.

        Raises:
            UserError: The text is no history of a search.
        """
        try:
            document = json.loads(text)
            return cls(
                document['supernet'],
                tuple(
                    Decision(d['kind'], tuple(d['node']), _frozen(d['options']))
                    for d in document['decisions']
                ),
                [_epoch(e) for e in document['epochs']],
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise UserError(f'this is no history of a search ({error!r})') from None

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``history.json`` into a folder."""
        write_text(Path(folder) / HISTORY_FILE, self.to_json())

    @classmethod
    def load(cls, folder: str | os.PathLike) -> SearchHistory:
        """Read a folder's ``history.json``.

        Raises:
            UserError: There is no such file, or it is damaged.
        """
        path = Path(folder) / HISTORY_FILE
        try:
            return cls.from_json(path.read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise UserError(f'{path}: no such file; a search writes it every epoch') from None
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


def _frozen(options: Sequence) -> tuple:
    return tuple(tuple(o) if isinstance(o, list) else o for o in options)

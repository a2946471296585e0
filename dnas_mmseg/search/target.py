"""Cost target of a search."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from dnas_mmseg.cost.parts import cost_table, latency_facts
from dnas_mmseg.cost.table import METRICS, CostTable, format_cost, require_reachable
from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.space import MultiTargetMode
from dnas_mmseg.spaces.supernet import Supernet

from .multi_target import decode_for_all

_RATE = 0.01
"""Step size of the multiplier, relative to the weight. A hundred steps at a constant deviation
``r = 1`` reach the bound; a larger one oscillates with noise of the expected cost, a smaller one
may not reach the target in a short search."""


class CostTarget:
    """Cost term of the architecture loss, and decoding to a cost target.

    With ``r = log(expected cost / expected target)`` the term is ``m r + weight r^2 / 2`` (an
    augmented Lagrangian, method of multipliers). Every architecture step adds ``0.01 weight r`` to
    the multiplier ``m``, which is limited to ``[-weight, weight]``: the expected cost of a supernet
    may not reach a target that single networks reach. Decoding returns the most probable network of
    about the target cost, with a price on cost for the remaining difference.

    Args:
        metric: ``'macs'``, ``'params'`` or ``'latency'``.
        target: Target in multiply-adds, parameters or seconds. With several targets, the expected
            cost is pushed to their geometric mean; there is no term in the mode ``'within'``.
        weight: Weight of the term and bound of the multiplier.
        size: Height and width of the input images, in pixels.
        table: File of measured parts (``dnas measure-latency``); required for latency only.
        network: Model config of the final segmentor, whose width and head determine the cost.
            Defaults to the model of the search.
        several: Mode of the stage with several targets, a value of :class:`MultiTargetMode`.

    Attributes:
        targets: All targets.
        multiplier: Multiplier ``m`` of the term.

    Raises:
        UserError: An argument is invalid.
    """

    def __init__(
        self,
        metric: str,
        target: float | Sequence[float],
        weight: float = 1.0,
        size: tuple[int, int] = (512, 512),
        table: str | os.PathLike | None = None,
        network: dict | None = None,
        several: str = MultiTargetMode.SEPARATE.value,
    ) -> None:
        if metric not in METRICS:
            raise UserError(f"cost metric '{metric}': expected one of {', '.join(METRICS)}")
        self.targets = tuple(target) if isinstance(target, Sequence) else (target,)
        if not self.targets or min(self.targets) <= 0 or weight < 0:
            raise UserError(f'cost target = {target}, weight = {weight}: expected positive numbers')
        if (metric == 'latency') != (table is not None):
            raise UserError(
                'the metric latency requires a table of dnas measure-latency, and other metrics '
                'support none'
            )
        self.metric, self.weight = metric, weight
        self.target = math.exp(sum(map(math.log, self.targets)) / len(self.targets))
        height, width = size
        self.size, self.path, self.network = (height, width), table, network
        self.several = MultiTargetMode(several)
        self.multiplier = 0.0

    def prepare(self, supernet: Supernet, model: ConfigDict) -> None:
        """Compute or load the costs of the parts, and check that the target can be reached.

        Args:
            supernet: The supernet.
            model: Model config of the search.

        Raises:
            CostError: The target cannot be reached, or the table was measured on another device or
                for other settings.
        """
        parts = supernet.parts(model if self.network is None else self.network, self.size)
        if self.path is not None:
            device = str(next(iter(supernet.architecture_parameters().values())).device)
            table = CostTable.load(self.path, latency_facts(parts.facts, device))
        else:
            table = cost_table(parts, self.metric)
        self.costs = supernet.cost_model(table)
        # The expected cost of the whole supernet is unrelated to that of a part of it.
        self.has_term = len(self.targets) == 1 or self.several is not MultiTargetMode.WITHIN
        if self.has_term:
            for target in self.targets:
                require_reachable(target, *self.costs.range(), self.metric)
            self.decode()  # raises early if no network leads to all targets
            self.expected_target = self.costs.expected_at(self.target)

    def loss(self) -> Tensor:
        """Return the term, a scalar differentiable with respect to the architecture parameters."""
        if not self.has_term:
            self._ratio = 0.0
            return torch.zeros(())
        ratio = torch.log(self.costs.expected() / self.expected_target)
        self._ratio = ratio.item()
        return self.multiplier * ratio + self.weight / 2 * ratio**2

    def after_architecture_step(self) -> None:
        """Update the multiplier after a step of the architecture parameters."""
        updated = self.multiplier + _RATE * self.weight * self._ratio
        self.multiplier = min(max(updated, -self.weight), self.weight)

    def decode(self) -> Architecture:
        """Return the most probable network of about the target cost.

        With several targets, the target is their geometric mean. In the mode ``SHARED``, the later
        stages can reach all targets from the returned network.
        """
        if len(self.targets) > 1 and self.several is MultiTargetMode.SHARED:
            return decode_for_all(self.costs, self.targets, self.target)
        return self.costs.decode_to(self.target)

    def provenance(self, architecture: Architecture, target: float) -> dict[str, Any]:
        """Return the cost entry of an architecture's provenance."""
        return {
            'metric': self.metric,
            'target': target,
            'predicted': self.costs.cost(architecture),
            'size': list(self.size),
        }

    def describe(self, architecture: Architecture) -> str:
        """Describe the cost of a decoded network, the target and the expected cost."""
        with torch.no_grad():
            expected = float(self.costs.expected())
        return (
            f'{format_cost(self.costs.cost(architecture), self.metric)} for a target of '
            f'{format_cost(self.target, self.metric)} (expected cost of the supernet '
            f'{format_cost(expected, self.metric)})'
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        settings = {'metric': self.metric, 'targets': list(self.targets), 'weight': self.weight}
        return {'multiplier': self.multiplier, **settings}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Load the state of a checkpoint.

        Raises:
            UserError: The state has another metric, target or weight.
        """
        current = self.state_dict()
        before: dict[str, Any] = {key: (state or {}).get(key) for key in current}
        if any(before[key] != current[key] for key in current if key != 'multiplier'):
            raise UserError(
                f'the checkpoint has another cost target ({before}, now {current}); start a new '
                'search in another work dir'
            )
        self.multiplier = before['multiplier']

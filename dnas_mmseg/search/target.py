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


class CostTarget:
    """Term that a target adds to the architecture's loss, and decoding that meets the target.

    With r = log(expected cost / expected target) the term is ``m r + weight r^2 / 2``. The
    multiplier m grows by ``weight r / 100`` with every architecture step: as long as the supernet
    is too expensive, it is pushed harder (the method of multipliers). The multiplier is bounded by
    the weight: the mean over all that a stage leaves open need not reach a target that single
    networks meet. The decoded network is the most probable one that costs about the target; a price
    on cost in decoding makes up the remaining difference.

    Args:
        metric: Metric of the cost, ``'macs'``, ``'params'`` or ``'latency'``.
        target: Target in multiply-adds, parameters or seconds. With several, the supernet is pushed
            to the middle (the geometric mean), except where each network has its own part of it.
        weight: Weight of the term, and bound of the multiplier.
        size: Height and width of the images that the cost is about, in pixels.
        table: File of measured parts, which latency needs (``dnas measure-latency``).
        network: Config of the segmentor that the found network will be in, whose width and head
            count; the search's own by default.
        several: Results that the stage decodes for several targets, a :class:`MultiTargetMode`.

    Attributes:
        targets: All targets.
        multiplier: Multiplier m of the term.
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
            raise UserError(f"cost metric '{metric}' is unknown: there are {', '.join(METRICS)}")
        self.targets = tuple(target) if isinstance(target, Sequence) else (target,)
        if not self.targets or min(self.targets) <= 0 or weight < 0:
            raise UserError(f'cost target = {target}, weight = {weight}: these must be positive')
        if (metric == 'latency') != (table is not None):
            raise UserError(
                'a measured table (dnas measure-latency writes it) is needed for latency, and only '
                'for that'
            )
        self.metric, self.weight = metric, weight
        self.target = math.exp(sum(map(math.log, self.targets)) / len(self.targets))
        height, width = size
        self.size, self.path, self.network = (height, width), table, network
        self.several = MultiTargetMode(several)
        self.multiplier = 0.0

    def prepare(self, supernet: Supernet, model: ConfigDict) -> None:
        """Get the table of the parts' costs, and check that the target can be reached.

        Args:
            supernet: Supernet that is searched.
            model: Config of the segmentor that it is searched in.

        Raises:
            CostError: The target cannot be reached, or the table does not hold here.
        """
        parts = supernet.parts(model if self.network is None else self.network, self.size)
        if self.path is not None:
            device = str(next(iter(supernet.architecture_parameters().values())).device)
            table = CostTable.load(self.path, latency_facts(parts.facts, device))
        else:
            table = cost_table(parts, self.metric)
        self.costs = supernet.cost_model(table)
        # The cost of all parts together says nothing about the network of a part.
        self.pushes = len(self.targets) == 1 or self.several is not MultiTargetMode.WITHIN
        if self.pushes:
            for target in self.targets:
                require_reachable(target, *self.costs.range(), self.metric)
            self.decode()  # says it now if no network leads to all of them
            self.expected_target = self.costs.expected_at(self.target)

    def loss(self) -> Tensor:
        """Return the term, a scalar that is differentiable in the architecture parameters."""
        if not self.pushes:
            self._ratio = 0.0
            return torch.zeros(())
        ratio = torch.log(self.costs.expected() / self.expected_target)
        self._ratio = ratio.item()
        return self.multiplier * ratio + self.weight / 2 * ratio**2

    def after_architecture_step(self) -> None:
        """Update the multiplier after a step of the architecture parameters."""
        moved = self.multiplier + _RATE * self.weight * self._ratio
        self.multiplier = min(max(moved, -self.weight), self.weight)

    def decode(self) -> Architecture:
        """Return the most probable network of about the target's cost.

        With several targets its cost is about the middle one. Where the stage decides one thing for
        all, the later stages can reach all targets from it.
        """
        if len(self.targets) > 1 and self.several is MultiTargetMode.SHARED:
            return decode_for_all(self.costs, self.targets, self.target)
        return self.costs.decode_to(self.target)

    def provenance(self, architecture: Architecture, target: float) -> dict[str, Any]:
        """Return the cost of an architecture as its file states it."""
        return {
            'metric': self.metric,
            'target': target,
            'predicted': self.costs.cost(architecture),
            'size': list(self.size),
        }

    def describe(self, architecture: Architecture) -> str:
        """Describe a decoded network's cost beside the target, and the expected one."""
        with torch.no_grad():
            expected = float(self.costs.expected())
        return (
            f'{format_cost(self.costs.cost(architecture), self.metric)} for a target of '
            f'{format_cost(self.target, self.metric)} (expected of the supernet '
            f'{format_cost(expected, self.metric)})'
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        facts = {'metric': self.metric, 'targets': list(self.targets), 'weight': self.weight}
        return {'multiplier': self.multiplier, **facts}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Load the state of a checkpoint.

        Raises:
            UserError: The state is of a search for another cost.
        """
        mine = self.state_dict()
        before: dict[str, Any] = {key: (state or {}).get(key) for key in mine}
        if any(before[key] != mine[key] for key in mine if key != 'multiplier'):
            raise UserError(
                f'the checkpoint is of a search for another cost ({before}, now {mine}); start '
                'again in another work dir'
            )
        self.multiplier = before['multiplier']

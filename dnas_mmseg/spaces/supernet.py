"""What a search asks of a supernet, whatever its space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.table import CostTable, meet_target

from .architecture import Architecture
from .decisions import Decision

EXTREME = 1e6
"""A price, in units of one over a cost, at which only cost counts."""


class Supernet(ABC):
    """A backbone that contains all networks of a space and owns architecture parameters.

    Architecture parameters do not require gradients: no weight optimizer steps or decays them, and
    DistributedDataParallel leaves them alone. The search thaws them for its own steps.

    Attributes:
        decisions: What is open, in the order of :meth:`probabilities`.
        holds_several_networks: Whether networks for several targets come to this supernet with
            connections of their own, of which it holds all.
    """

    decisions: tuple[Decision, ...]
    holds_several_networks: ClassVar[bool] = False

    @abstractmethod
    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """The architecture parameters by name."""

    @abstractmethod
    def probabilities(self) -> list[Tensor]:
        """Return the probabilities of every decision's options, (options,) each."""

    def sample(  # noqa: B027  most spaces have nothing to draw
        self, step: Literal['weights', 'architecture'], searching: bool, rng: np.random.Generator
    ) -> None:
        """Choose what takes part in the next step, where a space does not run all of itself.

        Args:
            step: What the step is for.
            searching: Whether architecture steps have begun.
            rng: The same in every process, and for the step alone: resuming repeats it.
        """

    def after_architecture_step(self) -> None:  # noqa: B027
        """The architecture parameters have made a step."""

    @abstractmethod
    def decode(self, price: float = 0.0, table: CostTable | None = None) -> Architecture:
        """The architecture that the architecture parameters prefer.

        Args:
            price: What a unit of cost is worth in the logarithms of probabilities.
            table: What the parts cost; needed where there is a price.
        """

    @abstractmethod
    def expected_cost(self, table: CostTable) -> Tensor:
        """Mean cost of the networks that the architecture parameters stand for, differentiable.

        What later stages decide is counted at its mean.
        """

    @abstractmethod
    def cost(self, architecture: Architecture, table: CostTable) -> float:
        """Return a decoded network's cost, pruned; what is open in it is counted at its mean."""

    def cost_range(
        self, table: CostTable, architecture: Architecture | None = None
    ) -> tuple[float, float]:
        """Cost of the cheapest and of the dearest network that can still be reached.

        Args:
            table: The parts.
            architecture: What this stage is decoded to; all that it can be by default.
        """
        if architecture is not None:
            return (self.cost(architecture, table),) * 2
        unit = self.cost(self.decode(), table)
        prices = (sign * EXTREME / unit for sign in (1, -1))
        return tuple(self.cost(self.decode(price, table), table) for price in prices)

    @abstractmethod
    def cost_facts(self, model: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        """Return what a table must hold for, to be of this supernet's networks.

        Args:
            model: Config of the segmentor.
            size: Height and width of the images.
        """

    @abstractmethod
    def cost_parts(
        self, model: Mapping[str, Any], size: tuple[int, int]
    ) -> Iterator[tuple[str, nn.Module, tuple[tuple[int, ...], ...]]]:
        """The parts of the space's networks: name, module, shapes of the tensors it takes."""

    def expected_cost_at(self, table: CostTable, target: float) -> float:
        """Return what the expected cost should be for a target: the target, if means get there."""
        return target

    def decode_to(self, table: CostTable, target: float, **options: Any) -> Architecture:
        """The architecture that is preferred among those that cost about ``target``.

        Args:
            table: The parts.
            target: A cost.
            **options: Of :meth:`decode`.
        """
        return meet_target(
            lambda price: self.decode(price / target, table, **options),
            lambda architecture: self.cost(architecture, table),
            target,
        )


def architecture_parameter(*shape: int) -> nn.Parameter:
    """Nearly undecided: normal with a deviation of 1e-3, as DNAS and Auto-DeepLab begin."""
    return nn.Parameter(1e-3 * torch.randn(*shape), requires_grad=False)


def norm_on_one_device(norm_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the norm that a part is built with where it is measured, in one process.

    What the searched network costs does not depend on how it is trained.
    """
    return {**norm_cfg, 'type': norm_cfg['type'].replace('SyncBN', 'BN')}


def norm_fact(norm_cfg: Mapping[str, Any]) -> str:
    """Return what a latency table says of a norm: its type, and groups where it has them."""
    groups = norm_cfg.get('num_groups')
    kind = norm_on_one_device(norm_cfg)['type']
    return kind if groups is None else f'{kind} of {groups} groups'


def softmax_over(groups: Iterable[Sequence[int]], logits: Tensor) -> Tensor:
    """A softmax over each group of some logits (n,), whose indices the groups share out."""
    groups = list(groups)
    order = torch.tensor([i for group in groups for i in group], device=logits.device)
    return torch.cat([logits[list(group)].softmax(0) for group in groups])[order.argsort()]


@contextmanager
def architecture_gradients(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients are computed for architecture parameters, and for nothing else."""
    weights = [p for p in model.parameters() if p.requires_grad]
    for p in weights:
        p.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in weights:
            p.requires_grad_(True)
        for p in parameters:
            p.requires_grad_(False)

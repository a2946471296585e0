"""Cost models: costs of a space's networks, expected costs, and decoding to a target.

A space's ``cost.py`` names the parts of its networks, lists them as modules, and subclasses
:class:`CostModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from dnas_mmseg.cost.table import CostTable, improve_towards_target, meet_target

from .architecture import Architecture

A = TypeVar('A', bound=Architecture)

EXTREME = 1e6
"""Price, in units of one over a cost, at which only cost counts: scores differ by far less."""


class Preferences(Protocol):
    """Part of a supernet that its cost model reads: the weights of the options."""

    def scores(self) -> Any:
        """Return the scores by which options are decoded: float64 arrays, detached."""

    def weights(self) -> Any:
        """Return the weights of the options: float64 tensors, differentiable."""


class CostModel(ABC, Generic[A]):
    """Costs of a supernet's networks, by a table of their parts.

    A price is the worth of a unit of cost in the logarithms of probabilities: decoding at a price
    returns the network of the largest log-probability minus its cost times the price.

    Args:
        preferences: Supernet that the networks are decoded from.
        table: Costs of the parts of the supernet's networks.
    """

    def __init__(self, preferences: Preferences, table: CostTable) -> None:
        self.preferences, self.table = preferences, table

    @abstractmethod
    def cost(self, architecture: A) -> float:
        """Return the cost of a decoded network, pruned; undecided parts count at their mean."""

    @abstractmethod
    def expected(self) -> Tensor:
        """Return the mean cost over the distribution of the architecture parameters.

        Decisions of later stages count at their mean.

        Returns:
            Mean cost, a scalar, differentiable in the architecture parameters.
        """

    @abstractmethod
    def decode(self, price: float = 0.0) -> A:
        """Return the architecture that the architecture parameters prefer at a price."""

    def range(self, architecture: A | None = None) -> tuple[float, float]:
        """Return the lowest and the highest cost of the networks that can still be reached.

        Args:
            architecture: Architecture that this stage decodes to; by default the stage is open.
        """
        if architecture is not None:
            return (self.cost(architecture),) * 2
        unit = self.cost(self.decode())
        lowest, highest = (self.decode(sign * EXTREME / unit) for sign in (1, -1))
        return self.cost(lowest), self.cost(highest)

    def expected_at(self, target: float) -> float:
        """Return the expected cost to aim at for a target: the target itself, if means reach it."""
        return target

    def decode_to(self, target: float) -> A:
        """Return the most preferred architecture among those that cost about a target."""
        return meet_target(lambda price: self.decode(price / target), self.cost, target)

    def within(self, architecture: A) -> CostModel[A]:
        """Return the cost model of the networks within a part of the supernet.

        Supernets on a union of several results (``MultiTargetMode.JOINED``) need it.

        Args:
            architecture: Part of the supernet, an architecture of the level that the supernet
                starts from.
        """
        raise NotImplementedError(f'{type(self).__name__} has no parts')


class TrellisCosts(CostModel[A]):
    """Costs of networks that are a path through a trellis, with operations along it.

    Decoding at a price is exact for the path, but changes many layers at once, so it reaches only
    costs with wide gaps between them. Single changes close these gaps.
    """

    @abstractmethod
    def neighbours(self, network: A) -> Iterable[A]:
        """Return the networks that differ in one decision."""

    @abstractmethod
    def score(self, network: A) -> float:
        """Return the sum of the scores of a network's edges and operations."""

    def decode_to(self, target: float) -> A:
        """Return the preferred network that costs about a target, improved by single changes."""
        found = super().decode_to(target)
        return improve_towards_target(found, self.neighbours, self.score, self.cost, target)

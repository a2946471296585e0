"""Cost models: cost of a network, expected cost of a search, and decoding to a target cost.

The ``cost.py`` of a space names the parts of its networks, lists them as modules, and subclasses
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
"""Price, in units of 1 / cost, at which cost alone decides: scores differ by far less than this."""


class Preferences(Protocol):
    """Interface of a supernet to its cost model: the weights of the options."""

    def scores(self) -> Any:
        """Return the scores of the options that decoding compares: float64 arrays, detached."""

    def weights(self) -> Any:
        """Return the weights of the options: float64 tensors, differentiable."""


class CostModel(ABC, Generic[A]):
    """Compute costs of a supernet's networks from a table of their parts.

    A price is a Lagrange multiplier: decoding at a price returns the network with the largest
    log-probability minus price times cost.

    Args:
        preferences: Supernet from which the networks are decoded.
        table: Costs of the parts of the supernet's networks.
    """

    def __init__(self, preferences: Preferences, table: CostTable) -> None:
        self.preferences, self.table = preferences, table

    @abstractmethod
    def cost(self, architecture: A) -> float:
        """Return the cost of a pruned network, with open decisions at their mean."""

    @abstractmethod
    def expected(self) -> Tensor:
        """Return the mean cost over the distribution of the architecture parameters.

        Decisions of later stages count at their mean.

        Returns:
            Mean cost, a scalar, differentiable in the architecture parameters.
        """

    @abstractmethod
    def decode(self, price: float = 0.0) -> A:
        """Decode the architecture parameters at a price."""

    def range(self, architecture: A | None = None) -> tuple[float, float]:
        """Return the lowest and the highest cost that this and later stages can reach.

        Args:
            architecture: Architecture that this stage decodes to; undecided by default.
        """
        if architecture is not None:
            return (self.cost(architecture),) * 2
        unit = self.cost(self.decode())
        lowest, highest = (self.decode(sign * EXTREME / unit) for sign in (1, -1))
        return self.cost(lowest), self.cost(highest)

    def expected_at(self, target: float) -> float:
        """Return the expected cost that leads to a target; by default the target itself."""
        return target

    def decode_to(self, target: float) -> A:
        """Return the most probable architecture whose cost is close to a target."""
        return meet_target(lambda price: self.decode(price / target), self.cost, target)

    def within(self, architecture: A) -> CostModel[A]:
        """Return the cost model of a part of the supernet.

        Required of supernets that hold a union of results (``MultiTargetMode.JOINED``).

        Args:
            architecture: Part of the supernet, an architecture of the level that the supernet
                starts from.
        """
        raise NotImplementedError(f'{type(self).__name__} does not support parts of a supernet')


class TrellisCosts(CostModel[A]):
    """Compute costs of networks that are a path through a trellis, with operations along it.

    Decoding at a price finds the best path, but a small change of the price can change many layers,
    so the reachable costs have wide gaps. Changing single decisions afterwards closes these gaps.
    """

    @abstractmethod
    def neighbours(self, network: A) -> Iterable[A]:
        """Return the networks that differ from one in a single decision."""

    @abstractmethod
    def score(self, network: A) -> float:
        """Return the sum of the scores of a network's edges and operations."""

    def decode_to(self, target: float) -> A:
        """Return a probable network whose cost is close to a target, refined by single changes."""
        found = super().decode_to(target)
        return improve_towards_target(found, self.neighbours, self.score, self.cost, target)

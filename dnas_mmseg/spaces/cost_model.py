"""Cost model of a supernet: costs of networks, expected costs, and decoding to a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

from dnas_mmseg.cost.table import CostTable, meet_target

from .architecture import Architecture

A = TypeVar('A', bound=Architecture)

EXTREME = 1e6
"""A price, in units of one over a cost, at which only cost counts."""


class CostModel(ABC, Generic[A]):
    """Costs of a supernet's networks, by a table of their parts.

    A price is the worth of a unit of cost in the logarithms of probabilities: decoding at a price
    gives the network of the largest log-probability less its cost times the price.

    Args:
        table: Costs of the parts of the supernet's networks.
    """

    def __init__(self, table: CostTable) -> None:
        self.table = table

    @abstractmethod
    def cost(self, architecture: A) -> float:
        """Return the cost of a decoded network, pruned.

        What is open in it is counted at its mean.
        """

    @abstractmethod
    def expected(self) -> Tensor:
        """Return the mean cost of the networks that the architecture parameters stand for.

        What later stages decide is counted at its mean.

        Returns:
            Mean cost, a scalar, differentiable in the architecture parameters.
        """

    @abstractmethod
    def decode(self, price: float = 0.0) -> A:
        """Return the architecture that the architecture parameters prefer at a price."""

    def range(self, architecture: A | None = None) -> tuple[float, float]:
        """Return the cost of the cheapest and of the dearest network that can still be reached.

        Args:
            architecture: Architecture that this stage is decoded to; by default the stage is open.
        """
        if architecture is not None:
            return (self.cost(architecture),) * 2
        unit = self.cost(self.decode())
        cheapest, dearest = (self.decode(sign * EXTREME / unit) for sign in (1, -1))
        return self.cost(cheapest), self.cost(dearest)

    def expected_at(self, target: float) -> float:
        """Return the expected cost to aim at for a target: the target itself, if means reach it."""
        return target

    def decode_to(self, target: float) -> A:
        """Return the architecture that is preferred among those that cost about a target."""
        return meet_target(lambda price: self.decode(price / target), self.cost, target)

    def within(self, architecture: A) -> CostModel[A]:
        """Return the cost model of the networks within a part of the supernet.

        Supernets on a union of several results (``MultiTargetMode.JOINED``) need it.

        Args:
            architecture: Part of the supernet, an architecture of the level that the supernet
                starts from.
        """
        raise NotImplementedError(f'{type(self).__name__} has no parts')

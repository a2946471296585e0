"""Interface between supernets of all spaces and the search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.parts import Parts
from dnas_mmseg.cost.table import CostTable

from .architecture import Architecture
from .cost import CostModel
from .decisions import Decision


class Supernet(ABC):
    """A backbone that contains all networks of a space and owns architecture parameters.

    Architecture parameters do not require gradients, so weight optimizers neither step nor decay
    them and DistributedDataParallel ignores them. The search unfreezes them for its own steps.

    Attributes:
        decisions: Open decisions, in the order of :meth:`probabilities`.
    """

    decisions: tuple[Decision, ...]

    @abstractmethod
    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """Return the architecture parameters by name."""

    @abstractmethod
    def probabilities(self) -> list[Tensor]:
        """Return the probabilities of every decision's options, (options,) each."""

    @abstractmethod
    def scores(self) -> Any:
        """Return the scores of the options that decoding compares: float64 arrays, detached."""

    @abstractmethod
    def weights(self) -> Any:
        """Return the weights of the options over which the expected cost is a mean.

        They are float64 tensors, differentiable in the architecture parameters, with the shapes of
        :meth:`scores`.
        """

    def sample(  # noqa: B027  most spaces do not sample
        self, step: Literal['weights', 'architecture'], searching: bool, rng: np.random.Generator
    ) -> None:
        """Sample the operations of the next step, in supernets that do not run all of them.

        Args:
            step: Kind of parameters that the step updates.
            searching: Whether architecture steps have begun.
            rng: Random generator of this step, equal in all processes and in resumed runs.
        """

    def after_architecture_step(self) -> None:  # noqa: B027
        """Correct the architecture parameters after their step, if the supernet requires it."""

    @abstractmethod
    def decode(self) -> Architecture:
        """Decode the architecture parameters."""

    @abstractmethod
    def parts(self, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
        """Return the parts of the supernet's networks, whose costs are counted or measured.

        Args:
            model: Config of the segmentor of the searched network.
            size: Height and width of the images.
        """

    @abstractmethod
    def cost_model(self, table: CostTable) -> CostModel[Any]:
        """Return the cost model of the supernet's networks for a table of their parts."""

    def expected_cost(self, table: CostTable) -> Tensor:
        """Return the expected cost of a network, a scalar; see :meth:`CostModel.expected`."""
        return self.cost_model(table).expected()


def architecture_parameter(*shape: int) -> nn.Parameter:
    """Return a frozen parameter with a normal initialisation of standard deviation 1e-3."""
    return nn.Parameter(1e-3 * torch.randn(*shape), requires_grad=False)


def softmax_over(groups: Iterable[Sequence[int]], logits: Tensor) -> Tensor:
    """Return the softmax of logits, (n,), within each group; each index is in one group."""
    groups = list(groups)
    order = torch.tensor([i for group in groups for i in group], device=logits.device)
    return torch.cat([logits[list(group)].softmax(0) for group in groups])[order.argsort()]


@contextmanager
def architecture_gradients(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Compute gradients only for architecture parameters."""
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

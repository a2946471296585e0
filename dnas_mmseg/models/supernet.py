"""What a search asks of a supernet, whatever its space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dnas_mmseg.architectures import Architecture
from dnas_mmseg.search import Decision


class Supernet(ABC):
    """A backbone that contains all networks of a space and owns architecture parameters.

    Architecture parameters do not require gradients: no weight optimizer steps or decays them, and
    DistributedDataParallel leaves them alone. The search thaws them for its own steps.

    Attributes:
        decisions: What is open, in the order of :meth:`probabilities`.
    """

    decisions: tuple[Decision, ...]

    @abstractmethod
    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """The architecture parameters by name."""

    @abstractmethod
    def probabilities(self) -> list[Tensor]:
        """Of every decision's options, as the architecture parameters stand, (options,) each."""

    @abstractmethod
    def decode(self) -> Architecture:
        """The architecture that the architecture parameters prefer."""


def architecture_parameter(*shape: int) -> nn.Parameter:
    """Nearly undecided: normal with a deviation of 1e-3, as DNAS and Auto-DeepLab begin."""
    return nn.Parameter(1e-3 * torch.randn(*shape), requires_grad=False)


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

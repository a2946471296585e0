"""The searched DNAS network as a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmseg.registry import MODELS
from torch import Tensor

from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_for

from .architecture import DNASArchitecture, NodeSpec
from .lattice import Lattice
from .operations import Cell


@MODELS.register_module()
class DNAS(Lattice):
    """A searched network of the DNAS space (Remote Sensing 2022, 14(16), 3864).

    Args:
        architecture: Architecture of level ``'cell'``: published name, JSON path, document or
            value.
        in_channels, base_channels, prune, norm_cfg, with_cp, init_cfg: Arguments of
            :class:`Lattice`.

    Attributes:
        architecture: Architecture that is built, after pruning.

    Raises:
        ArchitectureError: The architecture is no complete DNAS network.
    """

    def __init__(
        self, architecture: str | os.PathLike | Mapping | Architecture, *args, **kwargs
    ) -> None:
        network = load_for('backbone DNAS', architecture, DNASArchitecture, 'cell')
        super().__init__(network, *args, **kwargs)

    def build_cell(
        self, spec: NodeSpec, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> Cell:
        return Cell(spec.operations, in_channels, out_channels, norm_cfg)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first.

        Returns:
            Tensors (N, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i])), one per node.
        """
        return self.run(x)

"""Searched networks of the DNAS space as a backbone."""

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
    """A searched network of the DNAS space (Wang et al. 2022, Remote Sensing 14(16), 3864).

    Args:
        architecture: Architecture of level ``'cell'``: published name, JSON path, document or
            value.
        in_channels, base_channels, prune, norm_cfg, with_cp, init_cfg: Arguments of
            :class:`Lattice`.

    Raises:
        ArchitectureError: The architecture is not a complete DNAS network.

    Example:
        >>> import torch
        >>> backbone = DNAS('dnas_l14_gid5', in_channels=4, base_channels=8)
        >>> [tuple(x.shape) for x in backbone(torch.zeros(2, 4, 64, 64))]
        [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]
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

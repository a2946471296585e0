"""The searched DNAS network as a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmseg.registry import MODELS
from torch import Tensor

from dnas_mmseg.architectures import Architecture, load_architecture

from ..lattice import Lattice
from ..operations import Cell


@MODELS.register_module()
class DNAS(Lattice):
    """A searched network of the DNAS space (Remote Sensing 2022, 14(16), 3864).

    Args:
        architecture: Published name, JSON path, document or value of level ``'cell'``.
        in_channels: Bands of the input.
        base_channels: Channels at stride 4; an even number. The paper's networks have 40.
        prune: Leave out what cannot influence the output. With False everything the architecture
            lists is built, as the authors' checkpoints have it; the output is the same.
        norm_cfg: Normalisation layer.
        with_cp: Recompute the cells' activations in backward to save memory.
        init_cfg: Initialisation on top of the paper's: kaiming-normal cells.

    Attributes:
        architecture: What is built, after pruning.

    Raises:
        ArchitectureError: The architecture is no complete DNAS network.
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture,
        in_channels: int = 4,
        base_channels: int = 40,
        prune: bool = True,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        architecture = load_architecture(architecture)
        architecture.require('dnas', 'cell', by='backbone DNAS')
        super().__init__(
            architecture,
            lambda spec, c_in, c_out: Cell(spec.operations, c_in, c_out, norm_cfg),
            in_channels=in_channels,
            base_channels=base_channels,
            prune=prune,
            norm_cfg=norm_cfg,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first.

        Returns:
            One tensor (N, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i])) a node.
        """
        return self.run(x)

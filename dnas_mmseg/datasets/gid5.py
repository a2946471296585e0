"""GID-5: 150 Gaofen-2 scenes of 4 m, 4 bands, five classes (Tong et al., 2020)."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from .multi_band import MultiBandSegDataset

CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 255, 255), (255, 255, 0), (0, 0, 255))
"""Colours of the distributed label images; unlabelled is black."""

BANDS = ('nir', 'red', 'green', 'blue')
"""File order of the 8-bit images."""


@DATASETS.register_module()
class GID5Dataset(MultiBandSegDataset):
    """Tiles of GID-5, as ``dnas convert`` cuts them.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

"""GID-15: 10 Gaofen-2 scenes of 4 m, 4 bands, 15 classes of land cover (Tong et al., 2020)."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from .gid5 import BANDS
from .multi_band import MultiBandSegDataset

CLASSES = (
    'industrial land',
    'urban residential',
    'rural residential',
    'traffic land',
    'paddy field',
    'irrigated land',
    'dry cropland',
    'garden plot',
    'arbor woodland',
    'shrub land',
    'natural grassland',
    'artificial grassland',
    'river',
    'lake',
    'pond',
)
PALETTE = (
    (200, 0, 0),
    (250, 0, 150),
    (200, 150, 150),
    (250, 150, 150),
    (0, 200, 0),
    (150, 250, 0),
    (150, 200, 150),
    (200, 0, 200),
    (150, 0, 250),
    (150, 150, 250),
    (250, 200, 0),
    (200, 200, 0),
    (0, 0, 200),
    (0, 150, 200),
    (0, 200, 250),
)
"""Colours of the distributed label images; unlabelled is black."""


@DATASETS.register_module()
class GID15Dataset(MultiBandSegDataset):
    """Tiles of GID-15, as ``dnas convert`` cuts them.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

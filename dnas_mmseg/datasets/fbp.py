"""Five-Billion-Pixels: GID's 150 Gaofen-2 scenes in 24 classes (Tong, Xia and Zhu, 2023)."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from .gid5 import BANDS
from .multi_band import MultiBandSegDataset

CLASSES = (
    'industrial area',
    'paddy field',
    'irrigated field',
    'dry cropland',
    'garden land',
    'arbor forest',
    'shrub forest',
    'park',
    'natural meadow',
    'artificial meadow',
    'river',
    'urban residential',
    'lake',
    'pond',
    'fish pond',
    'snow',
    'bareland',
    'rural residential',
    'stadium',
    'square',
    'road',
    'overpass',
    'railway station',
    'airport',
)
PALETTE = (
    (200, 0, 0),
    (0, 200, 0),
    (150, 250, 0),
    (150, 200, 150),
    (200, 0, 200),
    (150, 0, 250),
    (150, 150, 250),
    (200, 150, 200),
    (250, 200, 0),
    (200, 200, 0),
    (0, 0, 200),
    (250, 0, 150),
    (0, 150, 200),
    (0, 200, 250),
    (150, 200, 250),
    (250, 250, 250),
    (200, 200, 200),
    (200, 150, 150),
    (250, 200, 150),
    (150, 150, 0),
    (250, 150, 150),
    (250, 150, 0),
    (250, 200, 250),
    (200, 150, 0),
)
"""Colours of the distributed label images; unlabelled is black."""


@DATASETS.register_module()
class FBPDataset(MultiBandSegDataset):
    """Tiles of Five-Billion-Pixels, as ``dnas convert`` cuts them.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

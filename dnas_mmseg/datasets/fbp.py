"""Five-Billion-Pixels: land cover of Gaofen-2 scenes in 24 classes."""

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
"""RGB colours of the distributed label images; unlabelled is black."""


@DATASETS.register_module()
class FBPDataset(MultiBandSegDataset):
    """Five-Billion-Pixels (FBP), cut into tiles by ``dnas convert``.

    Source: the 150 scenes of Gaofen-2 of GID-5, at 4 m per pixel, 6800 rows x 7200 columns.

    Classes: the 24 of ``CLASSES``, in train-id order.

    Format as distributed: ``Image__8bit_NirRGB/*.tif`` and ``Image_16bit_BGRNir/*.tiff`` as for
    :class:`GID5Dataset`; ``Annotation__index/*_24label.png`` with labels 1 to 24, 0 unlabelled.

    Format of the tiles: as for :class:`GID5Dataset`, train ids with 255 unlabelled.

    If you use this data set, cite X.-Y. Tong, G.-S. Xia, X. X. Zhu: "Enabling country-scale land
    cover mapping with meter-resolution satellite imagery", ISPRS Journal of Photogrammetry and
    Remote Sensing 196, pp. 178-196, 2023, https://arxiv.org/abs/2209.00727.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

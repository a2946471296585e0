"""GID-15: land cover of Gaofen-2 scenes in 15 classes."""

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
"""RGB colours of the distributed label images; unlabelled is black."""


@DATASETS.register_module()
class GID15Dataset(MultiBandSegDataset):
    """GID-15 (fine land-cover classification set of GID), cut into tiles by ``dnas convert``.

    Source: 10 labelled scenes of Gaofen-2 at 4 m per pixel, 6800 rows x 7200 columns.

    Classes: the 15 of ``CLASSES``, in train-id order.

    Format as distributed: images as for :class:`GID5Dataset`. Labels:
    ``label_15classes/*_label.tif``, 8-bit RGB colours of ``PALETTE``, black unlabelled (older
    release); ``GID15/Annotation__index/*_15label.png``, 1 to 15, 0 unlabelled (newer release).

    Format of the tiles: as for :class:`GID5Dataset`, train ids with 255 unlabelled.

    If you use this data set, cite X.-Y. Tong, G.-S. Xia, Q. Lu, H. Shen, S. Li, S. You, L. Zhang:
    "Land-cover classification with high-resolution remote sensing images using transferable deep
    models", Remote Sensing of Environment 237, 2020, https://doi.org/10.1016/j.rse.2019.111322.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

"""GID-5: 150 Gaofen-2 scenes of 4 m, 4 bands, five classes (Tong et al., 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from mmseg.registry import DATASETS

from .description import DatasetError
from .multi_band import MultiBandSegDataset

CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 255, 255), (255, 255, 0), (0, 0, 255))
"""The colours of the distributed label images; unlabelled is black."""

BANDS = ('nir', 'red', 'green', 'blue')
"""File order of the 8-bit images; the 16-bit ones are blue, green, red, nir."""


class Release(NamedTuple):
    """How a release lays out its files."""

    images: str
    labels: str
    label_suffix: str
    label_convention: str


RELEASES = (
    Release('image_NirRGB', 'label_5classes', '_label', 'rgb'),
    Release('Image__8bit_NirRGB', 'Annotation__index', '_5label', 'index'),
    Release('Image__8bit_NirRGB', 'GID5/Annotation__index', '_5label', 'index'),
)


def find_release(root: Path) -> Release:
    """Which release was unpacked into a folder.

    Raises:
        DatasetError: None; the message says what is expected.
    """
    for release in RELEASES:
        if (root / release.images).is_dir() and (root / release.labels).is_dir():
            return release
    expected = '; or '.join(f'{release.images}/ and {release.labels}/' for release in RELEASES)
    raise DatasetError(f'{root}: no release of GID-5 is there. Expected {expected}')


@DATASETS.register_module()
class GID5Dataset(MultiBandSegDataset):
    """Tiles of GID-5, as ``tools/dataset_converters/gid5.py`` cuts them.

    Args:
        See :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

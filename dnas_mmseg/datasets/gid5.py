"""GID-5: 150 Gaofen-2 scenes of 4 m, 4 bands, five classes (Tong et al., 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from mmseg.registry import DATASETS

from .description import DatasetError
from .multi_band import MultiBandSegDataset

CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 255, 255), (255, 255, 0), (0, 0, 255))
"""Colours of the distributed label images; unlabelled is black."""

BANDS = ('nir', 'red', 'green', 'blue')
"""File order of the 8-bit images."""


class Release(NamedTuple):
    """Layout of a release's files, as ``preparation.scenes.find_scenes`` reads them."""

    images: str
    labels: str
    label_convention: str
    bands: tuple[str, ...] = BANDS


RELEASES = {
    8: (
        Release('image_NirRGB/*', 'label_5classes/{name}_label.*', 'rgb'),
        Release('Image__8bit_NirRGB/*', 'Annotation__index/{name}_5label.*', 'index'),
        Release('Image__8bit_NirRGB/*', 'GID5/Annotation__index/{name}_5label.*', 'index'),
    ),
    16: (
        Release('Image_16bit_BGRNir/*', 'Annotation__index/{name}_5label.*', 'index', BANDS[::-1]),
        Release(
            'Image_16bit_BGRNir/*', 'GID5/Annotation__index/{name}_5label.*', 'index', BANDS[::-1]
        ),
    ),
}
"""Releases by the bits of a sample; the 16-bit images are blue, green, red, nir."""


def find_release(root: Path, bits: int = 8) -> Release:
    """Return the release that was unpacked into a folder.

    Args:
        root: Folder of the release.
        bits: Number of bits of the images' samples, 8 or 16.

    Raises:
        DatasetError: There is no release; the message says what is expected.
    """
    folders = [(str(Path(r.images).parent), str(Path(r.labels).parent)) for r in RELEASES[bits]]
    for release, (images, labels) in zip(RELEASES[bits], folders, strict=True):
        if (root / images).is_dir() and (root / labels).is_dir():
            return release
    expected = '; or '.join(f'{images} and {labels}' for images, labels in folders)
    raise DatasetError(f'{root}: no {bits}-bit release of GID-5 is there. Expected {expected}')


@DATASETS.register_module()
class GID5Dataset(MultiBandSegDataset):
    """Tiles of GID-5, as ``dnas convert`` cuts them.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

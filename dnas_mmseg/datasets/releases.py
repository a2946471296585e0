"""Releases of GID-5, GID-15 and Five-Billion-Pixels: where their files are, and what these hold."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from . import fbp, gid5, gid15
from .description import DatasetDescription, DatasetError

_FACTS = {'gid5': gid5, 'gid15': gid15, 'fbp': fbp}
FAMILY = tuple(_FACTS)
"""Names of the data sets."""

_BANDS = {8: gid5.BANDS, 16: gid5.BANDS[::-1]}


@dataclass(frozen=True)
class Release:
    """Files of a release.

    Attributes:
        dataset: Name of the data set, one of :data:`FAMILY`.
        images: Pattern of the images, as ``preparation.scenes.find_scenes`` reads it.
        labels: Pattern of the labels.
        label_convention: Convention of the labels, ``'rgb'`` or ``'index'``.
        bits: Number of bits of a sample: 8-bit images are nir, red, green, blue, 16-bit ones blue,
            green, red, nir.
    """

    dataset: str
    images: str
    labels: str
    label_convention: str
    bits: int = 8

    @property
    def description(self) -> DatasetDescription:
        """What the scenes are: bands in file order, classes, colours, convention."""
        facts = _FACTS[self.dataset]
        return DatasetDescription(
            _BANDS[self.bits], facts.CLASSES, facts.PALETTE, self.label_convention
        )


_OLD_IMAGES = 'image_NirRGB/*'
_NEW_IMAGES = {8: 'Image__8bit_NirRGB/*', 16: 'Image_16bit_BGRNir/*'}

RELEASES = (
    Release('gid5', _OLD_IMAGES, 'label_5classes/{name}_label.*', 'rgb'),
    Release('gid15', _OLD_IMAGES, 'label_15classes/{name}_label.*', 'rgb'),
    *(
        Release(
            dataset, images, f'{folder}Annotation__index/{{name}}_{count}label.*', 'index', bits
        )
        for bits, images in _NEW_IMAGES.items()
        for dataset, count, folders in (
            ('gid5', 5, ('', 'GID5/')),
            ('gid15', 15, ('', 'GID15/')),
            ('fbp', 24, ('',)),
        )
        for folder in folders
    ),
)
"""All releases; the newer one of GID-5 and GID-15 came with Five-Billion-Pixels, on its images."""


def find_release(root: Path, bits: int = 8, dataset: str | None = None) -> Release:
    """Return the release that was unpacked into a folder.

    Args:
        root: Folder of the release.
        bits: Number of bits of the images' samples, 8 or 16.
        dataset: Name of the data set, where the folder holds labels of several.

    Raises:
        DatasetError: There is no release, or labels of several; the message says what is expected.
    """
    wanted = [r for r in RELEASES if r.bits == bits and dataset in (None, r.dataset)]
    found = [r for r in wanted if _is_there(root, r.images) and _is_there(root, r.labels)]
    if not found:
        expected = '; or '.join(f'{r.images} and {r.labels} ({r.dataset})' for r in wanted)
        raise DatasetError(
            f'{root}: no {bits}-bit release is there. Expected {expected}; for scenes of your own '
            'give --images and --labels'
        )
    if len({release.dataset for release in found}) > 1:
        names = ', '.join(release.dataset for release in found)
        raise DatasetError(f'{root} has labels of {names}: say which by --dataset')
    return found[0]


def _is_there(root: Path, pattern: str) -> bool:
    files = glob.iglob(pattern.replace('{name}', '*'), root_dir=root)
    return next(files, None) is not None

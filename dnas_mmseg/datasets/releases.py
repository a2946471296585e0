"""File layouts of the releases of GID-5, GID-15 and Five-Billion-Pixels."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from pathlib import Path

from . import fbp, gid5, gid15
from .description import DatasetDescription, DatasetError

_MODULES = {'gid5': gid5, 'gid15': gid15, 'fbp': fbp}
FAMILY = tuple(_MODULES)
"""Names of the data sets."""

_BANDS = {8: gid5.BANDS, 16: gid5.BANDS[::-1]}


@dataclass(frozen=True)
class Release:
    """File layout of a release.

    Attributes:
        dataset: Name of the data set, one of :data:`FAMILY`.
        images: Pattern of the images, see :func:`dnas_mmseg.preparation.scenes.find_scenes`.
        labels: Pattern of the labels.
        label_convention: Label convention, ``'rgb'`` or ``'index'``.
        bits: Bits per sample. 8-bit images have the bands NIR, red, green, blue, 16-bit images the
            reverse.
    """

    dataset: str
    images: str
    labels: str
    label_convention: str
    bits: int = 8

    @property
    def description(self) -> DatasetDescription:
        """Bands in file order, classes, palette and label convention of the scenes."""
        module = _MODULES[self.dataset]
        return DatasetDescription(
            _BANDS[self.bits], module.CLASSES, module.PALETTE, self.label_convention
        )


_OLDER_IMAGES = 'image_NirRGB/*'
_NEWER_IMAGES = {8: 'Image__8bit_NirRGB/*', 16: 'Image_16bit_BGRNir/*'}

RELEASES = (
    Release('gid5', _OLDER_IMAGES, 'label_5classes/{name}_label.*', 'rgb'),
    Release('gid15', _OLDER_IMAGES, 'label_15classes/{name}_label.*', 'rgb'),
    *(
        Release(
            dataset, images, f'{folder}Annotation__index/{{name}}_{count}label.*', 'index', bits
        )
        for bits, images in _NEWER_IMAGES.items()
        for dataset, count, folders in (
            ('gid5', 5, ('', 'GID5/')),
            ('gid15', 15, ('', 'GID15/')),
            ('fbp', 24, ('',)),
        )
        for folder in folders
    ),
)
"""All releases; the newer releases of GID-5 and GID-15 share the images of Five-Billion-Pixels."""


def find_release(root: Path, bits: int = 8, dataset: str | None = None) -> Release:
    """Detect the release in a folder by its files.

    Args:
        root: Folder of the unpacked release.
        bits: Bits per sample of the images, 8 or 16.
        dataset: Name of the data set; required if the folder has labels of several.

    Raises:
        DatasetError: The folder has no release, or labels of several data sets.
    """
    wanted = [r for r in RELEASES if r.bits == bits and dataset in (None, r.dataset)]
    found = [r for r in wanted if _has_files(root, r.images) and _has_files(root, r.labels)]
    if not found:
        expected = '; or '.join(f'{r.images} and {r.labels} ({r.dataset})' for r in wanted)
        raise DatasetError(
            f'{root}: no {bits}-bit release found. Expected {expected}; for other scenes use '
            '--images and --labels'
        )
    if len({release.dataset for release in found}) > 1:
        names = ', '.join(release.dataset for release in found)
        raise DatasetError(f'{root} has labels of {names}: choose one with --dataset')
    return found[0]


def describe_source(
    root: Path,
    images: str | None = None,
    labels: str | None = None,
    *,
    bits: int = 8,
    dataset: str | None = None,
    facts: str | os.PathLike | None = None,
    label_convention: str | None = None,
) -> tuple[Release, DatasetDescription]:
    """Return the layout of a folder of labelled scenes, and what the scenes are.

    Args:
        root: Folder of the scenes.
        images, labels: Patterns of the files in another layout than a release's; both or neither.
        bits: Bits per sample of a release's images, 8 or 16.
        dataset: Name of the data set; required if the folder has labels of several.
        facts: JSON file that describes the scenes; by default they are as those of ``dataset``.
        label_convention: Label convention; by default that of ``facts`` or of the release, else
            ``'rgb'``.

    Raises:
        DatasetError: The folder does not exist, one pattern is missing, the folder has no release
            or labels of several data sets, or ``facts`` has label values besides
            ``label_convention``.
    """
    if not root.is_dir():
        raise DatasetError(f'{root}: no such folder')
    if (images is None) != (labels is None):
        raise DatasetError('--images and --labels belong together: give both, or neither')
    if images is None or labels is None:
        release = find_release(root, bits, dataset)
    else:
        release = Release(dataset or 'gid5', images, labels, label_convention or 'rgb', bits)
    description = release.description
    if images is not None and dataset is None:
        description = DatasetDescription(label_convention=label_convention or 'rgb')
    if facts is not None:
        description = DatasetDescription.load_file(facts)
    if label_convention is not None:
        if description.label_values:
            raise DatasetError(
                f'{facts}: label_values already states the classes of the label values: omit them, '
                f'or --label-convention {label_convention}'
            )
        description = replace(description, label_convention=label_convention)
    return release, description


def _has_files(root: Path, pattern: str) -> bool:
    files = glob.iglob(pattern.replace('{name}', '*'), root_dir=root)
    return next(files, None) is not None

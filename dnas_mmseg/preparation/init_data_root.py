"""Data root and config from images and labels, as written by ``dnas init``."""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dnas_mmseg.classes import default_palette
from dnas_mmseg.datasets.checks import exact_number, round_significant
from dnas_mmseg.datasets.description import (
    DESCRIPTION_FILE,
    DatasetDescription,
    DatasetError,
)
from dnas_mmseg.datasets.tiles import MANIFEST
from dnas_mmseg.files import check_config_folder, write_text
from dnas_mmseg.raster import list_field_values, parse_array_name

from .data_root import DataRoot, SplitSettings, make_data_root
from .folder_split import folder_split
from .interpretation import MissingSettingsError, interpret, interpret_bands
from .label_rasters import PolygonRules, check_label_options
from .pairs import ARRAY_FILES, PairContent, find_pairs, read_contents
from .scenes import Scene, StackSettings
from .splitting import largest_tile
from .tile_lists import TileSplit, split_tiles, write_lists

BASE = 'dnas_mmseg::unet/unet_lite0.py'
"""Config that is inherited: the most accurate of the portfolio at equal training time."""

_CROP = 128
"""Side in pixels of training crops, as in the base config."""

_MAX_TILE = 1024
"""Longest side in pixels of images that are used as tiles; larger ones are cut."""

_SIDE_STEP = 32
"""Factor of the side of tiles that is chosen here: the stride of networks."""

_FEW = 8
"""Number of images below which those larger than a tile are cut, too: 60 % of them are for training
in batches of 4."""


@dataclass(frozen=True)
class InitSettings:
    """Options of ``dnas init``: metadata that files may lack, and how to split and cut.

    Attributes:
        bands: Band names in file order; empty for those in the files.
        label_values: Class of each label value, None for unlabelled; None for a class per value.
        classes: Class names of the values in ascending order; empty for ``class_<value>``.
        unlabelled: Label values that are unlabelled; None if unknown.
        rules: How polygons become pixels, if the labels are polygons.
        nodata: Nodata value of the images, in addition to the declared ones.
        label_resampling: Resampling of label rasters to the grids of the scenes.
        by: How tiles are grouped, see :func:`split_tiles`.
        split: How scenes are split; its shares and seed also apply to tiles.
        tile_size: Side of the tiles cut from larger images; at most the shorter side of the largest
            image.
        stacks: How scenes of several files become rasters.
        overwrite: Whether existing lists, ``dataset.json`` and config are replaced.
    """

    bands: tuple[str, ...] = ()
    label_values: Mapping[str, str | None] | None = None
    classes: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] | None = None
    rules: PolygonRules | None = None
    nodata: float | None = None
    label_resampling: str = ''
    by: str = ''
    split: SplitSettings = SplitSettings()  # noqa: RUF009  immutable
    tile_size: int = 512
    stacks: StackSettings | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class InitResult:
    """Result of :func:`init_data_root`.

    Attributes:
        config: Path of the config.
        description: Content of ``dataset.json``.
        split: Split of the tiles, if the images are tiles.
        root: Data root cut from scenes, if the images are scenes.
        notes: Assumptions on bands and classes, one line each; ``split`` and ``root`` have others.
    """

    config: Path
    description: DatasetDescription
    split: TileSplit | None
    root: DataRoot | None
    notes: list[str]


def init_data_root(
    images: str,
    labels: str,
    out: str | os.PathLike,
    settings: InitSettings = InitSettings(),
    *,
    workers: int = 1,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> InitResult:
    """Describe images and labels, split them, and write a config to train.

    Images of at most 1024 pixels with label rasters on their grids are used where they are. Larger
    ones, fewer than 8 that are larger than ``tile_size``, and labels that are polygons or on other
    grids, are cut into tiles in ``out``; tiles without a labelled pixel are skipped. Writes the
    lists and ``dataset.json`` to ``out``, and the config ``<name of out>.py`` next to it.

    Args:
        images: Folder or pattern of the images, or products of several files.
        labels: Folder or pattern of the labels, or one file for all images.
        out: Data root to write.
        settings: Options.
        workers: Number of processes.
        track: Function from the name of a step to its progress callback.

    Raises:
        MissingSettingsError: A setting is required; the message has one line per option.
        DatasetError: Files do not match, or a list, ``dataset.json`` or the config exists.
        UserError: A config in this folder cannot name files
            (:func:`dnas_mmseg.files.check_config_folder`).
    """
    out = Path(out)
    if out.name in ('', '..') or out.suffix == '.py':
        raise DatasetError(f"--out '{out}': expected the name of a new folder, such as mine")
    config = out.parent / f'{out.name}.py'
    check_config_folder(config.parent)
    if config.exists() and not settings.overwrite:
        raise DatasetError(f'{config} exists: add --overwrite to replace it')
    pairs = find_pairs('.', images, labels, settings.stacks, settings.rules is not None)
    vectors = pairs[0].has_polygons
    parts = sum(share > 0 for share in settings.split.shares)
    if parts < 3:
        raise DatasetError(
            f'--fractions {" ".join(f"{s:g}" for s in settings.split.shares)}: a training run '
            'requires training, validation and test tiles: expected three positive numbers'
        )
    contents = read_contents(
        pairs,
        read_up_to=0 if vectors else _MAX_TILE,
        nodata=settings.nodata,
        bands=len(settings.bands),
        workers=workers,
        advance=track('reading images and labels'),
    )
    longest = max(max(content.shape) for content in contents)
    # Too few images for the splits, or for a batch, are divided, too.
    is_large = (
        len(pairs) < parts
        or longest > _MAX_TILE
        or (len(pairs) < _FEW and longest > settings.tile_size)
    )
    check_label_options(pairs, settings.rules, settings.label_resampling)
    _refuse_unused(settings, vectors, is_large)
    if vectors:
        description, notes = _interpret_polygons(contents, pairs, settings)
    else:
        description, notes = interpret(
            contents,
            bands=settings.bands,
            label_values=settings.label_values,
            classes=settings.classes,
            unlabelled=settings.unlabelled,
        )
    notes += _describe_fills(contents)
    split, root = None, None
    names = [pair.name for pair in pairs]
    folders = None if settings.by else folder_split([pair.image for pair in pairs])
    if vectors or is_large or not all(content.is_aligned for content in contents):
        _require_resampling(contents, settings)
        # Smaller scenes would be padded, and crops of their tiles mostly unlabelled.
        size = min(settings.tile_size, max(min(content.shape) for content in contents))
        if len(pairs) < parts and folders is None:
            size, more = _fit_strips(contents, size, parts)
            notes += more
        root = make_data_root(
            pairs,
            out,
            description,
            rules=settings.rules,
            label_resampling=settings.label_resampling,
            split=replace(settings.split, folders=dict(zip(names, folders or (), strict=False))),
            size=size,
            min_labelled=1 / max(size, 1) ** 2,  # a pixel
            recut=settings.overwrite,
            require_tiles=True,
            nodata=settings.nodata,
            provenance={'source': images, 'labels': labels},
            workers=workers,
            track=track,
        )
        description = root.description
    else:
        if (out / MANIFEST).is_dir():  # the data set would take the new tiles for cut ones
            raise DatasetError(
                f'{out} contains tiles that were cut from scenes: choose another --out, or remove '
                'it'
            )
        if (out / DESCRIPTION_FILE).exists() and not settings.overwrite:
            raise DatasetError(f'{out / DESCRIPTION_FILE} exists: add --overwrite to replace it')
        split = split_tiles(
            contents,
            settings.split.shares,
            by=settings.by,
            folders=folders or (),
            seed=settings.split.seed,
            labels=description.labels,
            names=description.class_names,
            command=_split_command(images, labels, out),
        )
        description = _describe_tiles(description, split, contents)
        write_lists(split.parts, out, overwrite=settings.overwrite)
        description.save(out)
    nodata = None if root is not None else settings.nodata  # declared in tiles cut here
    write_text(config, config_text(description, out.name, nodata))
    return InitResult(config, description, split, root, notes)


def config_text(
    description: DatasetDescription, data_root: str, nodata: float | None = None
) -> str:
    """Return the text of a config that trains on a data root next to it.

    Args:
        description: Content of ``dataset.json``, with statistics.
        data_root: Path of the data root, relative to the folder of the config.
        nodata: Nodata value in addition to the declared ones.
    """
    values: dict[int | str, str | None] = {
        int(text) if text.lstrip('-').isdigit() else text: name
        for text, name in description.label_values.items()
    }
    if not values:  # tiles cut here have train ids
        values = {**dict(enumerate(description.classes)), 255: None}
    entries = ''.join(f'    {value!r}: {name!r},\n' for value, name in values.items())
    height, width = description.tile_size or (_CROP, _CROP)
    extra = ''
    if nodata is not None and math.isfinite(nodata):  # other values are invalid anyway
        extra = f'    nodata={exact_number(nodata)},\n'
    mean, std = (
        [round_significant(value, 5) for value in part]
        for part in (description.mean, description.std)
    )
    return f"""# Tiles of {data_root}, described by `dnas init`.
_base_ = '{BASE}'
# Class of each value of the label files; edit the names. None is unlabelled, and several values may
# have one name. num_classes below is the number of names.
label_values = {{
{entries}}}
bands = {description.bands!r}  # in file order
tiles = dict(
    data_root={f'{{{{ fileDirname }}}}/{data_root}'!r},
    label_values=label_values,
    metainfo=dict(bands=bands),
{extra})
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=({min(height, _CROP)}, {min(width, _CROP)})),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(**tiles, pipeline=train_pipeline))
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
model = dict(
    data_preprocessor=dict(
        mean={mean},
        std={std},
    ),
    backbone=dict(in_channels={len(description.bands)}, init_cfg=dict(bands=bands)),
    decode_head=dict(num_classes={len(description.class_names)}),
)
"""


def _refuse_unused(settings: InitSettings, vectors: bool, is_large: bool) -> None:
    """Raise if a setting would have no effect."""
    has_names = settings.label_values is not None
    unused = {
        '--classes': (vectors or has_names) and bool(settings.classes),
        '--unlabelled': vectors and settings.unlabelled is not None,
        '--by': (vectors or is_large) and bool(settings.by),
    }
    reasons = {
        '--classes': '--label-values has the names of the classes'
        if has_names
        else 'the labels are polygons; map the values of the field by --label-values',
        '--unlabelled': 'the labels are polygons; leave values out by --label-values VALUE=',
        '--by': 'the images are cut into tiles; scenes are split, not tiles',
    }
    for option, is_unused in unused.items():
        if is_unused:
            raise DatasetError(f'{option} does not apply: {reasons[option]}')


def _interpret_polygons(
    contents: Sequence[PairContent], pairs: Sequence[Scene], settings: InitSettings
) -> tuple[DatasetDescription, list[str]]:
    """Return the description of images with polygons, whose field has the classes."""
    questions: list[str] = []
    notes: list[str] = []
    bands = interpret_bands(contents, settings.bands, questions, notes)
    rules = settings.rules
    if rules is None:
        questions.append('--class-field: the labels are polygons; name the field with the classes')
        raise MissingSettingsError('\n'.join(questions))
    if questions:
        raise MissingSettingsError('\n'.join(questions))
    values: dict[str, str | None] = dict(settings.label_values or {})
    if not values:
        found: set[str | int | float] = set()
        for path in dict.fromkeys(pair.label for pair in pairs):
            for value in list_field_values(path, rules.field, rules.layer):
                if value is None or not str(value).strip():
                    notes.append(f"{path}: features without '{rules.field}' are unlabelled")
                    values[str(value)] = None
                else:
                    found.add(value)
        # The order of features may differ between files of the same classes.
        for value in sorted(found, key=lambda value: (isinstance(value, str), value)):
            values[str(value)] = value if isinstance(value, str) else f'class_{value}'
    names = list(dict.fromkeys(filter(None, values.values())))
    alike = Counter(name.strip().lower() for name in names)
    twice = [name for name in names if alike[name.strip().lower()] > 1]
    if twice:
        notes.append(
            f'classes that differ by spaces or case only: {", ".join(map(repr, twice))}; merge '
            'them by the same name in label_values'
        )
    if rules.background and rules.background not in names:
        names.append(rules.background)
    if len(names) < 2:
        raise DatasetError(
            f"{pairs[0].label}: field '{rules.field}' has fewer than two classes "
            f'({", ".join(names) or "none"}): name the class of the other pixels by --background, '
            'and where they are by --area-of-interest'
        )
    return (
        DatasetDescription(
            bands=bands,
            classes=tuple(names),
            palette=default_palette(len(names)),
            label_values=values,
        ),
        notes,
    )


def _describe_fills(contents: Sequence[PairContent]) -> list[str]:
    """Return a note on values that many pixels have in all bands, which may be nodata."""
    found = [content for content in contents if content.fill is not None]
    if not found:
        return []
    worst = max(found, key=lambda content: content.fill[1] if content.fill else 0)
    assert worst.fill is not None  # by the condition above
    value, share = worst.fill
    return [
        f'{len(found)} of {len(contents)} images have one value in all bands in many pixels, such '
        f'as {exact_number(value)} in {100 * share:.2g} % of {worst.image}: if it is nodata, run '
        f'the command again with --nodata {exact_number(value)} and another --out'
    ]


def _fit_strips(contents: Sequence[PairContent], size: int, parts: int) -> tuple[int, list[str]]:
    """Return the tile size with which each scene is divided into strips, and a note on it."""
    smallest = min(contents, key=lambda content: max(content.shape))
    largest = max(1, largest_tile(max(smallest.shape), parts))
    if size <= largest:
        return size, []
    if largest >= _SIDE_STEP:
        largest -= largest % _SIDE_STEP
    height, width = smallest.shape
    return largest, [
        f'tiles have {largest} instead of {size} pixels, since {smallest.image} '
        f'({height} x {width} pixels) is divided into {parts} strips'
    ]


def _split_command(images: str, labels: str, out: Path) -> str:
    """Return the command that splits the same tiles again."""
    if parse_array_name(images) is not None or Path(images).suffix.lower() in ARRAY_FILES:
        return 'dnas split'
    patterns = (os.path.relpath(text, out) for text in (images, labels))
    options = zip(('--images', '--labels'), patterns, strict=True)
    return shlex.join(['dnas', 'split', str(out), *(word for pair in options for word in pair)])


def _require_resampling(contents: Sequence[PairContent], settings: InitSettings) -> None:
    shifted = [content for content in contents if not content.is_aligned]
    if shifted and not settings.label_resampling:
        raise MissingSettingsError(
            f'--label-resampling: {shifted[0].label} is not on the grid of {shifted[0].image}; '
            'nearest, or mode for labels of higher resolution'
        )


def _describe_tiles(
    description: DatasetDescription, split: TileSplit, contents: Sequence[PairContent]
) -> DatasetDescription:
    """Add type, size and statistics of the training tiles to a description."""
    training = split.parts['train']
    pixels = sum(tile.pixels for tile in training)
    if not pixels:
        raise DatasetError('no training tile has a valid pixel')
    mean, squares = (
        np.sum([getattr(tile, name) for tile in training], axis=0) / pixels
        for name in ('totals', 'squares')
    )
    std = np.sqrt(np.maximum(squares - mean**2, 0))
    types, sizes = ({getattr(c, key) for c in contents} for key in ('dtype', 'shape'))
    if len(types) > 1:
        raise DatasetError(f'images of different types: {", ".join(sorted(types))}')
    train = split.pixels[0]
    return replace(
        description,
        dtype=types.pop(),
        tile_size=sizes.pop() if len(sizes) == 1 else (),
        mean=tuple(round_significant(value) for value in mean),
        std=tuple(round_significant(value) for value in std),
        class_shares=tuple(round(float(n), 6) for n in train / max(train.sum(), 1)),
        provenance={'split': split.method},
    )

"""Options of scenes and labelled data: polygons, scenes of several files, items, and splits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command_line import UsageError, random_seed

if TYPE_CHECKING:
    from dnas_mmseg.preparation.label_rasters import PolygonRules
    from dnas_mmseg.raster import ItemScenes

FRACTIONS = (60, 20, 20)
"""Default shares of train, val and test."""


def add_stack_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--resampling`` and ``--mask-values``."""
    stacks = parser.add_argument_group('scenes of several files')
    stacks.add_argument(
        '--resampling', choices=('nearest', 'bilinear', 'cubic'), default='bilinear',
        help='resampling to the finest of the bands (default: bilinear)',
    )  # fmt: skip
    stacks.add_argument(
        '--mask-values', nargs='+', metavar='A,B,C', default=[],
        help='values of the quality band (SCL, QA_PIXEL, UDM2) that mark invalid pixels, or bits '
        'such as bit3',
    )  # fmt: skip


def add_item_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--items`` and its filters."""
    items = parser.add_argument_group('scenes of STAC catalogues')
    items.add_argument(
        '--items', action='append', default=[], metavar='SOURCE',
        help='file, folder or URL of STAC items, an item collection or a catalogue; repeatable',
    )  # fmt: skip
    items.add_argument(
        '--cloud-cover', type=float, metavar='PERCENT',
        help='skip items with a larger eo:cloud_cover, and those without it',
    )  # fmt: skip
    items.add_argument(
        '--period', default='', metavar='START/END',
        help='skip items outside a period such as 2023-05-01/2023-09-30 or 2023-05-01/..',
    )  # fmt: skip


def find_item_scenes(args: argparse.Namespace) -> ItemScenes:
    """Return the scenes of ``--items``.

    Raises:
        UsageError: A filter is set without items.
    """
    from dnas_mmseg.raster import ItemScenes, read_items

    if not args.items and (args.period or args.cloud_cover is not None):
        raise UsageError('--cloud-cover and --period apply to STAC items only: set --items')
    found = ItemScenes([], [], [])
    for source in args.items:
        part = read_items(source, max_cloud_cover=args.cloud_cover, period=args.period)
        found.scenes.extend(part.scenes)
        found.invalid.extend(part.invalid)
        found.notes.extend(part.notes)
    return found


def add_polygon_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of labels that are polygons."""
    polygons = parser.add_argument_group('labels that are polygons')
    polygons.add_argument('--class-field', metavar='FIELD', help='field with the classes')
    polygons.add_argument('--layer', default='', help='layer, if the files have several')
    polygons.add_argument(
        '--overlap', default='error', metavar='RULE',
        help='pixels in polygons of several classes: error, first, last (of the layer), or '
        'priority:FIELD for the highest value of a field (default: error)',
    )  # fmt: skip
    polygons.add_argument(
        '--all-touched', action='store_true',
        help='label every pixel that a polygon touches (default: those whose centres lie inside)',
    )  # fmt: skip
    polygons.add_argument(
        '--area-of-interest', default='', metavar='FILE',
        help='polygons of the labelled area; all outside is unlabelled',
    )  # fmt: skip
    polygons.add_argument(
        '--background', default='', metavar='CLASS',
        help='class of the pixels in the area of interest without a polygon (default: unlabelled)',
    )  # fmt: skip


def add_split_options(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--by``, ``--fractions`` and ``--seed`` of a split."""
    group.add_argument(
        '--by', default='', metavar='METHOD',
        help='groups of tiles: scene, blocks, random, or csv:FILE:COLUMN (names of the tiles in '
        'the first column); default: the first of scene, blocks and random that the tiles allow',
    )  # fmt: skip
    group.add_argument(
        '--fractions', type=float, nargs=3, default=FRACTIONS, metavar=('TRAIN', 'VAL', 'TEST'),
        help='share of each part (default: 60 20 20)',
    )  # fmt: skip
    group.add_argument('--seed', type=random_seed, default=0, help='random seed (default: 0)')


def polygon_rules(args: argparse.Namespace) -> PolygonRules | None:
    """Return how polygons become pixels; None without ``--class-field``."""
    from dnas_mmseg.preparation.label_rasters import PolygonRules

    if not args.class_field:
        unused = {
            '--area-of-interest': args.area_of_interest,
            '--background': args.background,
            '--all-touched': args.all_touched,
            '--layer': args.layer,
            '--overlap': args.overlap != 'error',
        }
        for option, value in unused.items():
            if value:
                raise UsageError(f'{option} applies to polygons only: set --class-field')
        return None
    return PolygonRules(
        args.class_field,
        args.layer,
        args.overlap,
        args.all_touched,
        args.area_of_interest,
        args.background,
    )


def split_words(texts: list[str]) -> tuple[str, ...]:
    """Return the words of an option, which may be separated by commas."""
    return tuple(word for text in texts for word in text.split(',') if word)

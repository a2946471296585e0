"""Options of mosaics of maps."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .command_line import UsageError

if TYPE_CHECKING:
    from dnas_mmseg.mapping.mosaics import Mosaic


def add_mosaic_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--mosaic`` and the options that require it."""
    group = parser.add_argument_group('mosaic of all maps')
    group.add_argument(
        '--mosaic', metavar='FILE.tif',
        help='write all maps as one, with a VRT and a table of areas by class',
    )  # fmt: skip
    group.add_argument(
        '--crs', default='',
        help='CRS of the mosaic, e.g. EPSG:25832, WKT or PROJ (default: that of most maps by area)',
    )  # fmt: skip
    group.add_argument(
        '--resolution', type=float, metavar='UNITS',
        help='side of a pixel in units of the CRS (default: that of most maps)',
    )  # fmt: skip
    group.add_argument(
        '--overlap-rule', choices=('first', 'confidence', 'majority'), default='first',
        help='class of pixels in several maps: of the first scene, of the most confident map '
        '(with --confidence), or the most frequent one (default: first)',
    )  # fmt: skip
    group.add_argument(
        '--mosaic-resampling', choices=('nearest', 'mode'), default='nearest',
        help='resampling of maps on another grid; mode for coarser resolutions (default: nearest)',
    )  # fmt: skip
    group.add_argument(
        '--zones', default='', metavar='FILE',
        help='polygons in which the area of each class is computed, e.g. a GeoPackage, in any CRS',
    )  # fmt: skip
    group.add_argument(
        '--zone-field', default='', metavar='FIELD',
        help='field with the names of the zones (default: the first text field, else the id)',
    )  # fmt: skip
    group.add_argument('--zone-layer', default='', help='layer of the zones, if there are several')


def parse_mosaic(args: argparse.Namespace, parts: int) -> Mosaic | None:
    """Return the mosaic to write; None without ``--mosaic``.

    Args:
        args: Parsed arguments.
        parts: Number of parts of the scenes, of which this process maps one.

    Raises:
        UsageError: Another option requires ``--mosaic``, or the options contradict each other.
    """
    from dnas_mmseg.mapping.mosaics import Mosaic

    if not args.mosaic:
        unused = {
            '--crs': args.crs,
            '--resolution': args.resolution is not None,
            '--overlap-rule': args.overlap_rule != 'first',
            '--mosaic-resampling': args.mosaic_resampling != 'nearest',
            '--zones': args.zones,
        }
        for option, value in unused.items():
            if value:
                raise UsageError(f'{option} requires --mosaic')
    for option, value in {'--zone-field': args.zone_field, '--zone-layer': args.zone_layer}.items():
        if value and not args.zones:
            raise UsageError(f'{option} requires --zones')
    if not args.mosaic:
        return None
    if parts > 1:
        raise UsageError(
            '--mosaic requires the maps of all shards: map the shards without it, then run '
            'dnas predict with all scenes, --resume and --mosaic, which maps nothing again'
        )
    if args.overlap_rule == 'confidence' and not args.confidence:
        raise UsageError('--overlap-rule confidence requires --confidence')
    return Mosaic(
        args.mosaic,
        args.crs,
        args.resolution,
        args.overlap_rule,
        args.mosaic_resampling,
        args.zones,
        args.zone_field,
        args.zone_layer,
    )

"""Write lists, statistics and a config to train from images and labels: the first command.

    dnas init images labels --out mine
    dnas init 'scenes/*.tif' 'truth/{name}_gt.png' --out mine --bands red green blue nir
    dnas init '{name}/image.tif' '{name}/label.tif' --out mine
    dnas init 'scenes/*.tif' fields.gpkg --class-field crop --out mine
    dnas init tiles.h5 tiles.h5 --out mine      # arrays images and labels
    dnas init 'S2*.SAFE' WorldCover.tif --label-resampling nearest --bands blue green red nir \\
        --label-values 10=trees 20=shrubs 30=grass 40=crops 80=water --out mine

IMAGES is a folder or a pattern; LABELS is a folder, a pattern with '{name}', or one file for all
images. Names that occur in several folders ('*/images/*.tif' '*/labels/{name}.png') start with the
folder; images in folders train, val and test are split by them, unless --by is set. Labels are
rasters, or polygons of any vector format. Images of at most 1024 pixels are used where they are;
larger ones, and fewer than 8 that are larger than --tile-size, are cut into tiles. Writes the lists
and dataset.json to the folder --out, and next to it a config, mine.py, with band names, class names
to edit, and statistics. If the files lack metadata, an error lists the options that set them, one
per line.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from .command_line import (
    ArgumentParser,
    add_no_network,
    forbid_network_if,
    progress_bars,
    user_errors,
)
from .convert import show_data_root
from .scene_options import (
    add_polygon_options,
    add_split_options,
    add_stack_options,
    polygon_rules,
    split_words,
)
from .split import show_split


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('images', metavar='IMAGES', help="e.g. images, or 'scenes/*.tif'")
    parser.add_argument('labels', metavar='LABELS', help="e.g. labels, or 'truth/{name}.png'")
    parser.add_argument('--out', type=Path, required=True, help='data root to write, e.g. mine')
    parser.add_argument(
        '--bands', nargs='+', default=[], metavar='A,B,C',
        help='band names in file order (default: those in the files)',
    )  # fmt: skip
    parser.add_argument(
        '--label-values', nargs='+', metavar='VALUE=CLASS',
        help="class of each label value, an integer or '#rrggbb' (or a value of --class-field); "
        'several values may be one class, an empty class is unlabelled (default: a class per '
        'value)',
    )  # fmt: skip
    parser.add_argument(
        '--classes', nargs='+', default=[], metavar='A,B,C',
        help='class names, in ascending order of the label values (without --label-values)',
    )  # fmt: skip
    parser.add_argument(
        '--unlabelled', nargs='+', metavar='VALUE',
        help="unlabelled values, in addition to those of --label-values, or 'none'",
    )  # fmt: skip
    parser.add_argument(
        '--nodata', type=float, metavar='VALUE',
        help='nodata value in addition to the declared ones, e.g. 0 for black borders',
    )  # fmt: skip
    parser.add_argument(
        '--label-resampling', choices=('nearest', 'mode'), default='',
        help='resample label rasters to the grids of the images',
    )  # fmt: skip
    add_polygon_options(parser)
    add_stack_options(parser)
    split = parser.add_argument_group('split')
    add_split_options(split)
    split.add_argument(
        '--tile-size', type=int, default=512,
        help='side of the tiles cut from larger images (default: 512)',
    )  # fmt: skip
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing lists, dataset.json and config'
    )
    parser.add_argument('--workers', type=int, help='processes (default: one per core)')
    add_no_network(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from dnas_mmseg.cpus import usable_cores
        from dnas_mmseg.preparation.data_root import SplitSettings
        from dnas_mmseg.preparation.init_data_root import InitSettings, init_data_root
        from dnas_mmseg.preparation.interpretation import parse_label_values
        from dnas_mmseg.preparation.scenes import StackSettings

        forbid_network_if(args)
        bands = split_words(args.bands)
        settings = InitSettings(
            bands=bands,
            label_values=parse_label_values(args.label_values) if args.label_values else None,
            classes=split_words(args.classes),
            unlabelled=None if args.unlabelled is None else split_words(args.unlabelled),
            rules=polygon_rules(args),
            nodata=args.nodata,
            label_resampling=args.label_resampling,
            by=args.by,
            split=SplitSettings(shares=args.fractions, seed=args.seed),
            tile_size=args.tile_size,
            stacks=StackSettings(
                args.out / 'scenes', bands, args.resampling, split_words(args.mask_values)
            ),
            overwrite=args.overwrite,
        )
        with progress_bars() as track:
            result = init_data_root(
                args.images,
                args.labels,
                args.out,
                settings,
                workers=usable_cores() if args.workers is None else args.workers,
                track=track,
            )
    if result.split is not None:
        show_split(args.out, result.split)
    if result.root is not None:
        show_data_root(args.out, result.root)
    for note in result.notes:
        print(f'note: {note}')
    print(f'bands   {", ".join(result.description.bands)}')
    print(f'classes {", ".join(result.description.class_names)} (edit them in {result.config})')
    config = shlex.quote(str(result.config))
    print(f'next: dnas check {config} --baseline, then dnas train {config} --hours 1')

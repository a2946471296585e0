"""Write train.txt, val.txt and test.txt of a folder of tiles.

    dnas split data/mine
    dnas split data/mine --by blocks --block-size 2000 --gap 500
    dnas split data/mine --by csv:tiles.csv:region --fractions 70 15 15
    dnas split data/mine --images 'img/{name}.tif' --labels 'mask/{name}_mask.png'
    dnas split data/mine --folds 5

Images and labels are paired by name; each file must have a partner. Tiles of one group are in one
part, because scores on neighbours of training tiles are biased: tiles of a scene (named
<scene>_<row>_<column>), or blocks of the ground by the tiles' georeferences. Groups are assigned so
that each part has its share of every class. Prints the shares, and the smallest distance between
training and test tiles.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .command_line import (
    ArgumentParser,
    UsageError,
    add_no_network,
    forbid_network_if,
    progress_bars,
    user_errors,
)
from .scene_options import FRACTIONS, add_split_options

if TYPE_CHECKING:
    from dnas_mmseg.preparation.tile_lists import TileSplit


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, help='data root; lists are written here')
    parser.add_argument(
        '--images', default='images', metavar='PATTERN',
        help='folder of the images below ROOT, or a pattern (default: images)',
    )  # fmt: skip
    parser.add_argument(
        '--labels', default='labels', metavar='PATTERN',
        help="folder of the labels below ROOT, or a pattern with '{name}' (default: labels)",
    )  # fmt: skip
    add_split_options(parser)
    parser.set_defaults(fractions=None)
    parser.add_argument('--folds', type=int, help='write fold1/, fold2/, ... with three lists each')
    parser.add_argument(
        '--block-size', type=float, metavar='DISTANCE',
        help='side of the blocks, in pixels without georeferences (default: one with at least 20 '
        'blocks)',
    )  # fmt: skip
    parser.add_argument(
        '--gap', type=float, default=0.0, metavar='DISTANCE',
        help='leave out training tiles nearer than this to other parts, in pixels without '
        'georeferences (default: 0)',
    )  # fmt: skip
    parser.add_argument('--overwrite', action='store_true', help='replace existing lists')
    parser.add_argument('--workers', type=int, default=1, help='processes (default: 1)')
    add_no_network(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from dnas_mmseg.datasets.description import DatasetDescription
        from dnas_mmseg.preparation.pairs import find_pairs, read_contents
        from dnas_mmseg.preparation.tile_lists import (
            remove_folds,
            split_folds,
            split_tiles,
            write_lists,
        )

        forbid_network_if(args)
        if args.folds is not None and args.fractions is not None:
            raise UsageError('--fractions does not apply: --folds sets the shares of the parts')
        description = DatasetDescription.load(args.root)
        pairs = find_pairs(args.root, args.images, args.labels)
        with progress_bars() as track:
            tiles = read_contents(
                pairs,
                bands=len(description.bands),
                workers=args.workers,
                advance=track('reading labels'),
            )
        options = dict(
            by=args.by,
            seed=args.seed,
            block_size=args.block_size,
            gap=args.gap,
            labels=description.labels,
            names=description.class_names,
        )
        if args.folds is None:
            splits = {args.root: split_tiles(tiles, args.fractions or FRACTIONS, **options)}
        else:
            folds = split_folds(tiles, args.folds, **options)
            remove_folds(args.root, args.folds, args.overwrite)
            splits = {args.root / f'fold{i}': split for i, split in enumerate(folds, 1)}
        for folder, split in splits.items():
            write_lists(split.parts, args.root, folder, args.overwrite)
            show_split(folder, split)


def show_split(folder: Path, split: TileSplit) -> None:
    """Print tiles and class shares of each part, and how far they are apart."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        'class',
        *split.parts,
        title=f'{folder}: {split.method}',
        caption="tiles, and shares of each class's pixels",
    )
    table.add_row('tiles', *(str(len(tiles)) for tiles in split.parts.values()))
    table.add_section()
    for name, shares in zip(split.classes, split.shares.T, strict=True):
        table.add_row(name, *(f'{100 * share:.0f} %' for share in shares))
    Console().print(table)
    if split.distance is not None:
        print(f'smallest distance of training and test tiles: {split.distance:.0f} {split.unit}')
    for note in split.notes:
        print(f'note: {note}')

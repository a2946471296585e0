"""Cut scenes of GID-5, GID-15, Five-Billion-Pixels or your own labelled scenes into tiles.

    dnas convert 'Large-scale Classification_5classes' --out data/gid5
    dnas convert ROOT --out data/fbp --workers 8 \\
        --train-list train_scenes.txt --val-list val_scenes.txt --test-list test_scenes.txt
    dnas convert ROOT --dataset gid5 --bits 16 --scale-to-8-bit 0 1023 --out data/gid5
    dnas convert . --images 'scenes/*.tif' --labels 'truth/{name}_gt.png' --facts mine.json \\
        --out data/mine
    dnas convert . --images 'scenes/*.tif' --labels 'polygons/{name}.gpkg' --class-field landuse \\
        --facts mine.json --out data/mine
    dnas convert . --images 'scenes/*.tif' --labels WorldCover.tif --label-resampling nearest \\
        --facts mine.json --out data/mine

ROOT is an unpacked release (image_NirRGB and label_5classes or label_15classes; or
Image__8bit_NirRGB or Image_16bit_BGRNir, and Annotation__index), or any folder with --images and
--labels. --facts describes your own scenes in a JSON file:
{"classes": [...], "palette": [[r, g, b], ...], "bands": [...], "label_convention": "rgb"} (or
"index", "train_id"; or instead of it "label_values": {"10": "trees", "20": "shrubs", "0": null}).
The dataset.json of a data root has this form. Labels are rasters on the scenes' grids, rasters on
any grid (--label-resampling), or polygons (--class-field), one file per scene or one for all.

Scenes are split into train, val and test as a whole, because neighbouring tiles in two splits would
bias the test scores; fewer than three scenes are each divided into strips with a gap between them.
Writes images/, labels/, manifest/<scene>.json (origin and checksum of each tile), the split lists
and dataset.json. The same command resumes an interrupted run.
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
    random_seed,
    user_errors,
)
from .scene_options import add_polygon_options, add_stack_options, polygon_rules, split_words

if TYPE_CHECKING:
    from dnas_mmseg.preparation.data_root import DataRoot


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, help='unpacked release, or any folder')
    parser.add_argument(
        '--out', type=Path, help='data root to write (default: data/gid5, data/gid15 or data/fbp)'
    )
    parser.add_argument(
        '--dataset',
        choices=('gid5', 'gid15', 'fbp'),
        help='labels to use if ROOT has several (default: the available ones)',
    )
    parser.add_argument(
        '--bits',
        type=int,
        choices=(8, 16),
        default=8,
        help='bit depth of the images to use (default: 8)',
    )
    other = parser.add_argument_group('your own scenes, in folders below ROOT')
    other.add_argument(
        '--images', metavar='PATTERN',
        help="e.g. 'scenes/*.tif', 'S2*.SAFE' or 'scenes/{name}_{band}.tif'",
    )  # fmt: skip
    other.add_argument(
        '--labels', metavar='PATTERN',
        help="e.g. 'truth/{name}_gt.png' or 'polygons/{name}.gpkg'; or one file for all scenes",
    )  # fmt: skip
    other.add_argument('--facts', type=Path, metavar='JSON', help='classes, colours and bands')
    other.add_argument(
        '--label-convention',
        choices=('rgb', 'index', 'train_id'),
        help='encoding of the labels: palette colours, indices 1..n (0 is unlabelled) or train ids '
        '(255 is unlabelled) (default: that of --facts, else rgb)',
    )
    other.add_argument(
        '--label-resampling', choices=('nearest', 'mode'), default='',
        help='resample label rasters to the grids of the scenes; mode for labels of higher '
        'resolution (default: they must be on the grids)',
    )  # fmt: skip
    add_stack_options(parser)
    add_polygon_options(parser)
    tiles = parser.add_argument_group('tiles')
    tiles.add_argument('--tile-size', type=int, default=512, help='side in pixels (default: 512)')
    tiles.add_argument('--stride', type=int, help='pixels (default: the tile size)')
    tiles.add_argument(
        '--min-labelled', type=float, default=0.0, metavar='SHARE',
        help='skip tiles with a smaller share of labelled pixels (default: 0)',
    )  # fmt: skip
    tiles.add_argument(
        '--max-unknown', type=float, default=0.001, metavar='SHARE',
        help='largest allowed share of unknown label values per scene; they are reported and '
        'treated as unlabelled (default: 0.001)',
    )  # fmt: skip
    tiles.add_argument(
        '--scale-to-8-bit', type=float, nargs=2, metavar=('LOW', 'HIGH'),
        help='scale samples from LOW..HIGH to 0..255 (default: no scaling)',
    )  # fmt: skip
    tiles.add_argument(
        '--apply-scale', action='store_true',
        help='apply the declared scale and offset of bands (float32), e.g. to combine Sentinel-2 '
        'scenes of several processing baselines; dnas predict then does the same',
    )  # fmt: skip
    tiles.add_argument(
        '--nodata', type=float, metavar='VALUE',
        help='nodata in addition to the declared ones, e.g. 0 for black borders without a tag',
    )  # fmt: skip
    split = parser.add_argument_group('split')
    split.add_argument(
        '--shares',
        type=float,
        nargs=3,
        default=(0.6, 0.2, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of a random split of the scenes (default: 0.6 0.2 0.2)',
    )
    split.add_argument(
        '--seed', type=random_seed, default=0, help='random seed of the split (default: 0)'
    )
    for name in ('train', 'val', 'test'):
        split.add_argument(
            f'--{name}-list',
            type=Path,
            help='file with one scene name per line, instead of a random split',
        )
    split.add_argument(
        '--within-scenes', action=argparse.BooleanOptionalAction,
        help='divide each scene into strips for train, val and test (default: if there are fewer '
        'scenes than parts)',
    )  # fmt: skip
    split.add_argument(
        '--gap', type=int, metavar='PIXELS',
        help='distance between the strips of a scene (default: half the tile size)',
    )  # fmt: skip
    split.add_argument(
        '--mix-tiles', action='store_true',
        help='split tiles instead of scenes; scores are biased, because neighbours are in training',
    )  # fmt: skip
    parser.add_argument('--workers', type=int, help='processes (default: one per core)')
    add_no_network(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from dnas_mmseg.cpus import usable_cores
        from dnas_mmseg.datasets.releases import describe_source
        from dnas_mmseg.preparation.data_root import SplitSettings, make_data_root
        from dnas_mmseg.preparation.scenes import StackSettings, find_scenes

        forbid_network_if(args)
        if args.images is not None and args.out is None:
            raise UsageError('--images requires --out, the data root to write')
        release, description = describe_source(
            args.root,
            args.images,
            args.labels,
            bits=args.bits,
            dataset=args.dataset,
            facts=args.facts,
            label_convention=args.label_convention,
        )
        out = args.out or Path('data') / release.dataset
        stacks = StackSettings(
            out / 'scenes', description.bands, args.resampling, split_words(args.mask_values)
        )
        scenes = find_scenes(
            args.root, release.images, release.labels, stacks, polygons=bool(args.class_field)
        )
        split = SplitSettings(
            lists={name: getattr(args, f'{name}_list') for name in ('train', 'val', 'test')},
            shares=args.shares,
            seed=args.seed,
            within=args.within_scenes,
            gap=args.gap,
            mix_tiles=args.mix_tiles,
        )
        with progress_bars() as track:
            result = make_data_root(
                scenes,
                out,
                description,
                rules=polygon_rules(args),
                label_resampling=args.label_resampling,
                split=split,
                size=args.tile_size,
                stride=args.stride,
                min_labelled=args.min_labelled,
                scale=args.scale_to_8_bit and tuple(args.scale_to_8_bit),
                nodata=args.nodata,
                apply_scale=args.apply_scale,
                max_unknown=args.max_unknown,
                provenance={'source': release.images, 'labels': release.labels},
                workers=usable_cores() if args.workers is None else args.workers,
                track=track,
            )
    show_data_root(out, result, mixed=args.mix_tiles)


def show_data_root(out: Path, result: DataRoot, mixed: bool = False) -> None:
    """Print notes, scenes and statistics of a data root."""
    for note in result.notes:
        print(f'note: {note}')
    counts = ', '.join(f'{split} {number}' for split, number in result.scenes.items())
    if mixed:
        counts = str(sum(result.scenes.values()))
    print(f'{out}: {counts} scenes, split {result.method}')
    written = result.description
    print('mean ', written.mean, '\nstd  ', written.std)
    print('share', dict(zip(written.classes, written.class_shares, strict=True)))

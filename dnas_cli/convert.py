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
`dnas init` writes one. Labels are rasters on the scenes' grids, rasters on any grid
(--label-resampling), or polygons (--class-field), one file per scene or one for all.

Scenes are split into train, val and test as a whole, because neighbouring tiles in two splits would
bias the test scores; fewer than three scenes are each divided into strips with a gap between them.
Writes images/, labels/, manifest/<scene>.json (origin and checksum of each tile), the split lists
and dataset.json. The same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .command_line import (
    ArgumentParser,
    UsageError,
    add_no_network,
    forbid_network_if,
    progress_bars,
    user_errors,
)


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
    other.add_argument(
        '--resampling', choices=('nearest', 'bilinear', 'cubic'), default='bilinear',
        help='resampling of coarser bands of scenes of several files (default: bilinear)',
    )  # fmt: skip
    other.add_argument(
        '--mask-values', nargs='+', metavar='VALUE', default=[],
        help='values of the quality band of such scenes (SCL, QA_PIXEL, UDM2) that mark invalid '
        'pixels, or bits such as bit3',
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
    split.add_argument('--seed', type=int, default=0, help='random seed of the split (default: 0)')
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
        from dnas_mmseg.preparation.conversion import convert_scenes
        from dnas_mmseg.preparation.label_rasters import PolygonRules, make_label_rasters
        from dnas_mmseg.preparation.scenes import StackSettings, find_scenes
        from dnas_mmseg.preparation.splitting import split_scenes
        from dnas_mmseg.preparation.tiling import TileSpec

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
            out / 'scenes', description.bands, args.resampling, tuple(args.mask_values)
        )
        scenes = find_scenes(args.root, release.images, release.labels, stacks)
        notes: list[str] = []
        if args.class_field or args.label_resampling:
            rules = None
            if args.class_field:
                rules = PolygonRules(
                    args.class_field,
                    args.layer,
                    args.overlap,
                    args.all_touched,
                    args.area_of_interest,
                    args.background,
                )
            with progress_bars() as track:
                scenes, notes = make_label_rasters(
                    scenes,
                    out,
                    description,
                    rules=rules,
                    resampling=args.label_resampling,
                    advance=track('labels'),
                )
            description = replace(
                description,
                classes=description.class_names,
                label_convention='train_id',
                label_values={},
            )
        tiling = TileSpec.from_description(
            description,
            size=args.tile_size,
            stride=args.tile_size if args.stride is None else args.stride,
            min_labelled=args.min_labelled,
            scale=args.scale_to_8_bit and tuple(args.scale_to_8_bit),
            nodata=args.nodata,
            apply_scale=args.apply_scale,
        )
        splits, how = split_scenes(
            scenes,
            {name: getattr(args, f'{name}_list') for name in ('train', 'val', 'test')},
            args.shares,
            args.seed,
            within=args.within_scenes,
            labels=tiling.labels,
            size=args.tile_size,
            gap=args.tile_size // 2 if args.gap is None else args.gap,
        )
        with progress_bars() as track:
            description, found = convert_scenes(
                splits,
                out,
                tiling,
                split=how,
                max_unknown=args.max_unknown,
                mix_tiles=args.seed if args.mix_tiles else None,
                provenance={'source': release.images, 'labels': release.labels, 'seed': args.seed},
                workers=usable_cores() if args.workers is None else args.workers,
                advance=track('cutting tiles'),
            )
    for note in [*notes, *found]:
        print(f'note: {note}')
    for split in ('train', 'val', 'test'):
        if not splits.get(split):
            print(f'note: {split} has no scenes, its list is empty')
    listed = len({scene.name for part in splits.values() for scene in part})
    if listed < len(scenes):
        print(f'note: {len(scenes) - listed} of {len(scenes)} scenes are in no list')
    counts = ', '.join(f'{split} {len(part)}' for split, part in splits.items())
    print(f'{out}: {listed if args.mix_tiles else counts} scenes, split {how}')
    print('mean ', description.mean, '\nstd  ', description.std)
    print('share', dict(zip(description.classes, description.class_shares, strict=True)))

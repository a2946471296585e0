"""Cut the scenes of GID-5, GID-15 or Five-Billion-Pixels, or any labelled scenes, into tiles.

    dnas convert 'Large-scale Classification_5classes' --out data/gid5
    dnas convert ROOT --out data/fbp --workers 8 \\
        --train-list train_scenes.txt --val-list val_scenes.txt --test-list test_scenes.txt
    dnas convert ROOT --dataset gid5 --bits 16 --scale-to-8-bit 0 1023 --out data/gid5
    dnas convert ROOT --out data/mine --facts mine.json \\
        --images 'scenes/*.tif' --labels 'truth/{name}_gt.png'

ROOT is a release as it was unpacked (image_NirRGB and label_5classes or label_15classes; or
Image__8bit_NirRGB or Image_16bit_BGRNir, and Annotation__index), or any folder with --images and
--labels. --facts says in JSON what such scenes are, all of it: {"classes": [...],
"palette": [[r, g, b], ...], "bands": [...], "label_convention": "rgb", "index" or "train_id"};
without, they are as those of --dataset.

Whole scenes go to train, val or test: tiles of one scene in two splits would let the test set see
its neighbourhood. Writes images/, labels/, manifest/<scene>.json (where each tile is from, and its
checksum), the lists and dataset.json. An interrupted run goes on where it was, by the same command.
"""

from __future__ import annotations

import argparse
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
    parser.add_argument('root', type=Path, help='the release as it was unpacked, or any folder')
    parser.add_argument(
        '--out', type=Path, help='data root to write (default: data/gid5, data/gid15 or data/fbp)'
    )
    parser.add_argument(
        '--dataset',
        choices=('gid5', 'gid15', 'fbp'),
        help='which labels, where ROOT has those of several (default: what is there)',
    )
    parser.add_argument('--bits', type=int, choices=(8, 16), default=8, help='which images')
    other = parser.add_argument_group('scenes of other folders, below ROOT')
    other.add_argument('--images', metavar='PATTERN', help="e.g. 'scenes/*.tif'")
    other.add_argument('--labels', metavar='PATTERN', help="e.g. 'truth/{name}_gt.png'")
    other.add_argument('--facts', type=Path, metavar='JSON', help="what they are, if not GID's")
    other.add_argument(
        '--label-convention',
        choices=('rgb', 'index', 'train_id'),
        help="what the labels hold (default: what --facts says, else the palette's colours, rgb)",
    )
    tiles = parser.add_argument_group('tiles')
    tiles.add_argument('--tile-size', type=int, default=512, help='pixels (default: 512)')
    tiles.add_argument('--stride', type=int, help='pixels (default: the tile size)')
    tiles.add_argument(
        '--min-labelled', type=float, default=0.0, metavar='SHARE',
        help='leave out tiles with a smaller share of labelled pixels (default: 0)',
    )  # fmt: skip
    tiles.add_argument(
        '--max-unknown', type=float, default=0.001, metavar='SHARE',
        help="of a scene's pixels that may have unknown label values; these are reported and count "
        'as unlabelled (default: 0.001)',
    )  # fmt: skip
    tiles.add_argument(
        '--scale-to-8-bit', type=float, nargs=2, metavar=('LOW', 'HIGH'),
        help='make 0 .. 255 of these samples; without it samples stay as they are',
    )  # fmt: skip
    tiles.add_argument(
        '--apply-scale', action='store_true',
        help='apply the scale and offset that bands declare (float32), e.g. where Sentinel-2 '
        'scenes of several processing baselines meet; dnas predict then does the same',
    )  # fmt: skip
    tiles.add_argument(
        '--nodata', type=float, metavar='VALUE',
        help='nodata beside what the scenes declare, e.g. 0 for black borders without a tag',
    )  # fmt: skip
    split = parser.add_argument_group('split')
    split.add_argument(
        '--shares',
        type=float,
        nargs=3,
        default=(0.6, 0.2, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='of scenes, drawn at random (default: 0.6 0.2 0.2, which is 90/30/30 of 150)',
    )
    split.add_argument('--seed', type=int, default=0, help='of that draw (default: 0)')
    for name in ('train', 'val', 'test'):
        split.add_argument(f'--{name}-list', type=Path, help='a scene name a line, instead')
    split.add_argument(
        '--mix-tiles', action='store_true',
        help='draw tiles instead of scenes; scores will be too high, as neighbours are in training',
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
        from dnas_mmseg.preparation.scenes import find_scenes, split_scenes
        from dnas_mmseg.preparation.tiling import TileSpec

        forbid_network_if(args)
        if args.images is not None and args.out is None:
            raise UsageError('--images needs --out, the data root to write')
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
        settings = TileSpec(
            description.classes,
            description.palette,
            description.bands,
            description.label_convention or '',
            args.tile_size,
            args.tile_size if args.stride is None else args.stride,
            args.min_labelled,
            args.scale_to_8_bit and tuple(args.scale_to_8_bit),
            args.nodata,
            args.apply_scale,
        )
        scenes = find_scenes(args.root, release.images, release.labels)
        lists = {name: getattr(args, f'{name}_list') for name in ('train', 'val', 'test')}
        splits = split_scenes(scenes, lists, args.shares, args.seed)
        with progress_bars() as track:
            description, notes = convert_scenes(
                splits,
                out,
                settings,
                max_unknown=args.max_unknown,
                mix_tiles=args.seed if args.mix_tiles else None,
                provenance={'source': release.images, 'labels': release.labels, 'seed': args.seed},
                workers=usable_cores() if args.workers is None else args.workers,
                advance=track('cutting tiles'),
            )
    for note in notes:
        print(f'note: {note}')
    for split in ('train', 'val', 'test'):
        if not splits.get(split):
            print(f'note: no scene is in {split}, whose list is empty')
    listed = sum(map(len, splits.values()))
    if listed < len(scenes):
        print(f'note: {len(scenes) - listed} of {len(scenes)} scenes are in no list')
    counts = ', '.join(f'{split} {len(part)}' for split, part in splits.items())
    print(f'{out}: scenes {listed if args.mix_tiles else counts}')
    print('mean ', description.mean, '\nstd  ', description.std)
    print('share', dict(zip(description.classes, description.class_shares, strict=True)))

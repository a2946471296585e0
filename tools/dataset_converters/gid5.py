"""Cut GID-5 scenes into tiles.

    python tools/dataset_converters/gid5.py 'Large-scale Classification_5classes' --out data/gid5
    python tools/dataset_converters/gid5.py ROOT --out data/gid5 --tile-size 512 \\
        --train-list train_scenes.txt --val-list val_scenes.txt --test-list test_scenes.txt

ROOT is the older release (image_NirRGB, label_5classes) or the newer one (Image__8bit_NirRGB,
Annotation__index). Whole scenes go to train, val or test: tiles of one scene in two splits would
let the test set see its neighbourhood. Writes images/, labels/, the lists and dataset.json.
"""

import argparse
from pathlib import Path

from rich.progress import track

from dnas_mmseg.apis.command_line import user_errors
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE, find_release
from dnas_mmseg.datasets.tiling import cut_scenes, find_scenes, scenes_from_lists, split_scenes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', type=Path, help='the release as it was unpacked')
    parser.add_argument('--out', type=Path, default=Path('data/gid5'), help='data root to write')
    parser.add_argument('--tile-size', type=int, default=512, help='pixels (default: 512)')
    parser.add_argument('--stride', type=int, help='pixels (default: the tile size)')
    parser.add_argument(
        '--shares',
        type=float,
        nargs=3,
        default=(0.6, 0.2, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='of scenes, drawn at random (default: 0.6 0.2 0.2, which is 90/30/30 of 150)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of that draw (default: 0)')
    for split in ('train', 'val', 'test'):
        parser.add_argument(f'--{split}-list', type=Path, help='a scene name a line, instead')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        release = find_release(args.root)
        scenes = find_scenes(
            args.root / release.images, args.root / release.labels, release.label_suffix
        )
        lists = {s: getattr(args, f'{s}_list') for s in ('train', 'val', 'test')}
        lists = {split: path for split, path in lists.items() if path is not None}
        if lists:
            splits = scenes_from_lists(scenes, lists)
        else:
            splits = split_scenes(scenes, args.shares, args.seed)
        description = cut_scenes(
            splits,
            args.out,
            classes=CLASSES,
            palette=PALETTE,
            bands=BANDS,
            label_convention=release.label_convention,
            size=args.tile_size,
            stride=args.stride,
            provenance={'source': f'GID-5, {release.images}', 'seed': args.seed},
            track=lambda work: track(work, description='cutting scenes'),
        )
    counts = ', '.join(f'{split} {len(scenes)}' for split, scenes in splits.items())
    print(f'{args.out}: scenes {counts}')
    print('mean ', description.mean, '\nstd  ', description.std)
    print('share', dict(zip(description.classes, description.class_shares, strict=True)))


if __name__ == '__main__':
    main()

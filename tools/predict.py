"""Map scenes of any size: georeferenced class maps as Cloud-Optimised GeoTIFFs.

    python tools/predict.py configs/dnas/dnas_l14_gid5.py best.pth scenes/*.tif --out-dir maps
    python tools/predict.py CONFIG CHECKPOINT SCENE --out-dir maps --confidence --bands red green
    python tools/predict.py CONFIG CHECKPOINT scenes/*.tif --out-dir maps --shard 1/4 --resume

Bands are taken by name where the scene names its bands, or where --bands says what they are; else
the scene must have the bands of the training tiles, in their order. Windows overlap and are
blended; memory holds one row of windows. Any model that mmseg trains works.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dnas_mmseg.apis.command_line import config_parser, load_config, user_errors
from dnas_mmseg.apis.prediction import load_segmentor, predict_scenes
from dnas_mmseg.apis.scene_prediction import Tiling
from dnas_mmseg.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='a checkpoint of this model')
    parser.add_argument('scenes', nargs='+', type=Path, metavar='SCENE')
    parser.add_argument('--out-dir', type=Path, required=True, help="maps get the scenes' names")
    parser.add_argument('--bands', nargs='+', help="the scenes' bands by name, in file order")
    parser.add_argument('--window', type=int, default=512, help='side, pixels (default: 512)')
    parser.add_argument('--overlap', type=int, help='pixels (default: a quarter of the window)')
    parser.add_argument('--batch', type=int, default=4, help='windows at once (default: 4)')
    parser.add_argument('--flips', action='store_true', help='average over four flips')
    parser.add_argument('--confidence', action='store_true', help='also maps of the probability')
    parser.add_argument('--probabilities', action='store_true', help="also maps of every class's")
    parser.add_argument('--skip-bad-blocks', action='store_true', help='leave them without a class')
    parser.add_argument('--resume', action='store_true', help='skip scenes whose map is there')
    parser.add_argument('--shard', default='1/1', metavar='I/N', help='only every N-th scene')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cuda where there is)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        part, _, parts = args.shard.partition('/')
        if not (part.isdigit() and parts.isdigit()):
            raise UserError(f'--shard {args.shard}: I/N is expected, 1/4 for instance')
        config = load_config(args.config, options=args.cfg_options)
        model = load_segmentor(config, args.checkpoint, args.device)
        columns = (
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns) as progress:

            def track(name: str) -> Callable[[int, int], None]:
                task = progress.add_task(name, total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            maps = predict_scenes(
                model,
                config,
                args.scenes,
                args.out_dir,
                bands=args.bands,
                resume=args.resume,
                shard=(int(part), int(parts)),
                tiling=Tiling(args.window, args.overlap, args.batch),
                track=track,
                flips=args.flips,
                confidence=args.confidence,
                probabilities=args.probabilities,
                skip_bad_blocks=args.skip_bad_blocks,
            )
        skipped = (
            f'; {len(args.scenes) - len(maps)} left out' if len(maps) < len(args.scenes) else ''
        )
        for note in (note for notes in maps.values() for note in notes):
            print(f'note: {note}')
        print(f'{args.out_dir}: {len(maps)} maps{skipped}')


if __name__ == '__main__':
    main()

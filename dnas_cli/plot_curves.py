"""Plot the validation scores of several training runs.

    dnas plot-curves PSPNet=work_dirs/psp_0,work_dirs/psp_1 \\
        DNAS=work_dirs/dnas_0,work_dirs/dnas_1 --out curves.png

Runs of a model with several seeds are separated by commas, or in one work dir of `dnas train
--seeds` or `--folds`; their mean is a thick line. The horizontal axis is the share of the schedule,
so that runs with different numbers of epochs are comparable. With several models and seeds, the
standard deviation over seeds and the least significant difference are printed.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, UsageError, split_name, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='+', metavar='NAME=WORK_DIR[,WORK_DIR...]')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument('--score', default='mIoU', help='OA, FWIoU, IoU.water, ... (default: mIoU)')
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.evaluation import measure_noise
        from dnas_mmseg.visualization import find_training_folders, read_curve, save_learning_curves

        runs: dict[str, list] = {}
        for model in args.models:
            name, folders = split_name(model)
            if not name:
                raise UsageError(f'{model}: NAME=WORK_DIR[,WORK_DIR...] expected')
            runs.setdefault(name, []).extend(
                read_curve(training, args.score)
                for folder in folders.split(',')
                for training in find_training_folders(folder)
            )
        save_learning_curves(args.out, runs, args.score)
        for name, curves in runs.items():
            for number, curve in enumerate(curves, 1):
                if curve[-1][0] < 1:
                    print(
                        f'note: run {number} of {name} ends at {curve[-1][0]:.0%} of its schedule'
                    )
        if len(runs) > 1 and max(map(len, runs.values())) > 1:
            last = {name: [curve[-1][1] for curve in curves] for name, curves in runs.items()}
            print(f'{args.score} at the end: {measure_noise(last)}')
    print(args.out)

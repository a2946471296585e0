"""`dnas select` and single networks for the same total time, a row each in equal_time.csv.

    python -m benchmarks.equal_time --minutes 30 --repeats 0 1 2 --workers 2
    python -m benchmarks.equal_time --list              # missing runs
    python -m benchmarks.equal_time --table             # results as Markdown

A selection gets the default portfolio and all of the minutes, and combines up to three finalists
(no columns of an ensemble: no combination scored higher than the best finalist). A single network
is trained alone for all of the minutes (``dnas train --hours``), on the whole training list. Each
runs on one thread. Repeats differ in the seed. ``DNAS_DATA`` is the folder of the data, as for
:mod:`benchmarks.candidates`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.candidates import DATA, build_config
from benchmarks.rows import ROOT, Rows, folder_name, run_in_processes
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.engine.length import fit_length
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.visualization.learning_curves import read_scores
from dnas_mmseg.work_dir import FINAL_FOLDER

COLUMNS = (
    'date', 'data', 'method', 'repeat', 'minutes', 'seconds', 'network', 'macs', 'epochs',
    'mIoU_val', 'mIoU', 'ensemble_macs', 'ensemble_mIoU',
)  # fmt: skip
ROWS = Rows(ROOT / 'benchmarks/equal_time.csv', COLUMNS)
SELECT = 'dnas select'
OWN = 'U-Net, Lite0, ImageNet'
"""Network of the config that a selection gets, which takes part."""
METHODS = (
    SELECT, 'HRNet-W18-small', OWN, 'PSPNet R-18',
    'DNAS L=12 released, base 16',
)  # fmt: skip


def select(data: str, repeat: int, minutes: float, work_dir: Path) -> dict[str, Any]:
    """Run a selection as a user does, and return the result of its winner."""
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir.parent / f'{work_dir.name}.py'
    config = build_config(data, OWN, work_dir)
    config.pop('work_dir')
    path.write_text(config.pretty_text, encoding='utf-8')
    command = [sys.executable, '-W', 'ignore', '-m', 'dnas_mmseg', 'select', '--config', path]
    command += ['--hours', f'{minutes / 60:g}', '--seed', repeat, '--threads', 1]
    command += ['--ensemble', 3, '--work-dir', work_dir]
    subprocess.run(list(map(str, command)), check=True)
    board = json.loads((work_dir / 'leaderboard.json').read_text(encoding='utf-8'))
    winner, ensemble = board['candidates'][0], board['ensemble']
    final = next((work_dir / FINAL_FOLDER).glob('epoch_*.pth'))
    validations = read_scores(work_dir / FINAL_FOLDER)
    found = dict(
        network=OWN if winner['family'] == 'own' else winner['name'], macs=winner['macs'],
        mIoU_val=round(validations[max(validations)], 2), mIoU=round(board['test_mIoU'], 2),
        epochs=winner['epochs'] + int(final.stem.removeprefix('epoch_')),
    )  # fmt: skip
    if ensemble:
        found.update(ensemble_macs=ensemble['macs'], ensemble_mIoU=round(ensemble['tested'], 2))
    return found


def alone(data: str, method: str, repeat: int, minutes: float, work_dir: Path) -> dict[str, Any]:
    """Train a network for all of the time, and test it."""
    torch.set_num_threads(1)
    config = build_config(data, method, work_dir)
    config.randomness = dict(seed=repeat)
    fit_length(config, minutes / 60)
    epochs = config.train_cfg.val_interval = config.train_cfg.max_epochs
    config.default_hooks.checkpoint.update(interval=epochs, save_best=None)
    runner = train(config)
    validation = round(float(runner.message_hub.get_scalar('val/mIoU').current()), 2)
    tested = test(config, str(next(work_dir.glob('epoch_*.pth'))))
    macs = complexity(config, (512, 512)).macs
    return dict(
        network=method, macs=macs, epochs=epochs, mIoU_val=validation,
        mIoU=round(tested['mIoU'], 2),
    )  # fmt: skip


def missing(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Return the requested runs without a row, in the order in which they are run."""
    done = {(r['data'], r['method'], r['repeat'], r['minutes']) for r in ROWS.read()}
    return [
        (data, method, repeat)
        for repeat in args.repeats
        for data in args.data
        for method in args.methods
        if (data, method, str(repeat), f'{args.minutes:g}') not in done
    ]


def table() -> str:
    """Return the test mIoU by data set and method as a Markdown table."""
    rows = ROWS.read()
    lines = ['| Data | Method | Networks | Test mIoU by repeat | Mean |', '|---|---|---|---:|---:|']
    for data in DATA:
        for method in METHODS:
            own = [r for r in rows if (r['data'], r['method']) == (data, method)]
            if own:
                networks = dict.fromkeys(r['network'] for r in own if method == SELECT)
                scores = [float(r['mIoU']) for r in own]
                text = ', '.join(f'{score:.1f}' for score in scores)
                names = ', '.join(networks)
                mean = f'**{statistics.mean(scores):.1f}**'
                lines.append(f'| {data} | {method} | {names} | {text} | {mean} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', nargs='+', choices=DATA, default=list(DATA))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--repeats', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--workers', type=int, default=1, help='parallel runs')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/equal_time')
    parser.add_argument('--list', action='store_true', help='only list missing runs')
    parser.add_argument('--table', action='store_true', help='only print the table')
    parser.add_argument('--one', nargs=3, help=argparse.SUPPRESS)  # a run in this process
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    if args.one:
        data, method, repeat = args.one[0], args.one[1], int(args.one[2])
        began = time.monotonic()
        if method == SELECT:
            found = select(data, repeat, args.minutes, args.work_dir)
        else:
            found = alone(data, method, repeat, args.minutes, args.work_dir)
        row = dict(
            date=time.strftime('%Y-%m-%d'), data=data, method=method, repeat=repeat,
            minutes=f'{args.minutes:g}', seconds=round(time.monotonic() - began), **found,
        )  # fmt: skip
        ROWS.append(row)
        return
    runs = missing(args)
    if args.list:
        for run in runs:
            print(*run, sep=' | ')
        return

    commands = {folder_name(*run): ('--minutes', args.minutes, '--one', *run) for run in runs}
    run_in_processes('benchmarks.equal_time', commands, args.work_dir, args.workers)


if __name__ == '__main__':
    main()

"""Learning rate schedules for training runs that continue, a row each in benchmarks/schedules.csv.

    python -m benchmarks.schedules --minutes 3 --seeds 0 1 2 --workers 2
    python -m benchmarks.schedules --schedules polynomial cycles --seeds 1 2
    python -m benchmarks.schedules --table

A selection lengthens a training run when its candidate is promoted, so its schedule must not
depend on the final length. It uses `cycles`: the schedule of the network's own config in each of
three rungs, until a ninth, a third and all of the epochs, from the averaged weights of the rung
before. Each network is trained on the NAIP tiles of ``DNAS_DATA`` for equal numbers of epochs,
fitted to the minutes on one thread. The averages are those of ``MomentumAnnealingEMA``: over the
last ``1 / gamma`` of the steps, at most ``1 / momentum`` steps.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from benchmarks.candidates import build_config
from benchmarks.rows import ROOT, Rows, folder_name, run_in_processes
from dnas_mmseg.engine.length import fit_length, scale_schedule
from dnas_mmseg.engine.running import test, train

COLUMNS = ('date', 'network', 'schedule', 'seed', 'minutes', 'epochs', 'mIoU_val', 'mIoU')
ROWS = Rows(ROOT / 'benchmarks/schedules.csv', COLUMNS)
NETWORKS = (
    'U-Net, Lite0, ImageNet', 'HRNet-W18-small', 'DNAS L=12 released, base 16', 'ResNet-18 + FPN',
)  # fmt: skip
CYCLES = 'cycles'
DECAYS = {'constant, decay at the end': 0.8, 'constant, decay in the second half': 0.5}
"""Share of the epochs before the decay, by schedule."""
SCHEDULES = ('polynomial', CYCLES, 'constant', 'constant, long average', *DECAYS)


def set_schedule(config: Config, schedule: str) -> None:
    """Replace the polynomial schedule of a config of ``_base_/schedules/adamw_ema.py``."""
    if schedule in ('polynomial', CYCLES):
        return
    warm_up = config.param_scheduler[0]
    config.param_scheduler = [warm_up]
    epochs = config.train_cfg.max_epochs
    if schedule in DECAYS:
        begin = round(DECAYS[schedule] * epochs)
        config.param_scheduler.append(
            dict(
                type='LinearLR', start_factor=1.0, end_factor=0.01, begin=begin, end=epochs,
                by_epoch=True, convert_to_iter_based=True,
            )
        )  # fmt: skip
    if schedule == 'constant, long average':
        config.custom_hooks[0].update(momentum=1e-4, gamma=5)


def run(network: str, schedule: str, seed: int, minutes: float, work_dir: Path) -> dict[str, Any]:
    """Train and test a network on one thread, and return its row."""
    torch.set_num_threads(1)
    config = build_config('naip', network, work_dir)
    config.randomness = dict(seed=seed)
    fit_length(config, minutes / 60)
    epochs = config.train_cfg.max_epochs = _shared_epochs(network, config.train_cfg.max_epochs)
    set_schedule(config, schedule)
    ends, checkpoint = [epochs], None
    if schedule == CYCLES:
        ends = [max(1, round(epochs / 9)), max(2, round(epochs / 3)), epochs]
    for begun, end in itertools.pairwise((0, *ends)):
        part = copy.deepcopy(config)
        if schedule == CYCLES:
            scale_schedule(part, end - begun)
        part.train_cfg.val_interval = end - begun
        part.default_hooks.checkpoint.update(interval=end - begun, save_best=None)
        part.work_dir = part.visualizer.name = str(work_dir / str(end))
        part.load_from = checkpoint
        runner = train(part)
        checkpoint = str(next((work_dir / str(end)).glob('epoch_*.pth')))
    validation = runner.message_hub.get_scalar('val/mIoU').current()
    tested = test(config, checkpoint)
    values = (
        time.strftime('%Y-%m-%d'), network, schedule, seed, f'{minutes:g}', epochs,
        round(float(validation), 2), round(float(tested['mIoU']), 2),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _shared_epochs(network: str, epochs: int) -> int:
    """Return the epochs of the first row of a network, so that all of its rows are equal."""
    return next((int(r['epochs']) for r in ROWS.read() if r['network'] == network), epochs)


def table() -> str:
    """Return the mean test mIoU by network and schedule as a Markdown table."""
    rows = ROWS.read()
    lines = [
        f'| Network | {" | ".join(SCHEDULES)} |',
        f'|---|{"---:|" * len(SCHEDULES)}',
    ]
    means: dict[str, list[float]] = {schedule: [] for schedule in SCHEDULES}
    for network in NETWORKS:
        cells = []
        for schedule in SCHEDULES:
            key = (network, schedule)
            own = [float(r['mIoU']) for r in rows if (r['network'], r['schedule']) == key]
            cells.append(', '.join(f'{score:.1f}' for score in own))
            means[schedule] += own
        lines.append(f'| {network} | {" | ".join(cells)} |')
    mean = (f'**{statistics.mean(own):.1f}**' if own else '' for own in means.values())
    lines.append(f'| Mean | {" | ".join(mean)} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--schedules', nargs='+', choices=SCHEDULES, default=SCHEDULES)
    parser.add_argument('--minutes', type=float, default=3)
    parser.add_argument('--workers', type=int, default=1, help='parallel training runs')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/schedules')
    parser.add_argument('--table', action='store_true', help='only print the table')
    parser.add_argument('--one', nargs=4, help=argparse.SUPPRESS)  # a training in this process
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    if args.one:
        network, schedule, seed, minutes = args.one
        ROWS.append(run(network, schedule, int(seed), float(minutes), args.work_dir))
        return
    done = {(r['network'], r['schedule'], r['seed']) for r in ROWS.read()}
    for seed in args.seeds:
        # The first schedule of each network sets the number of epochs of the others.
        for schedule in args.schedules:
            runs = {
                folder_name(network, schedule, seed): (
                    '--one', network, schedule, seed, f'{args.minutes:g}'
                )
                for network in NETWORKS
                if (network, schedule, str(seed)) not in done
            }  # fmt: skip
            run_in_processes('benchmarks.schedules', runs, args.work_dir, args.workers)


if __name__ == '__main__':
    main()

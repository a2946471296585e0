"""Comparison of selection strategies on real tiles at equal cost.

    python -m benchmarks.selections --data naip --repeats 0 1 2 --workers 2
    python -m benchmarks.selections --data naip gid5-rgb --list          # missing runs
    python -m benchmarks.selections --data naip --table

The arms are successive halving, random search, gradient search and baselines. Each has a budget of
twelve full training runs on the training list, retrains the selected network on the whole list and
tests it once. A full training run has about 770 steps for a typical network of DNAS with 8 layers
at base 16; other networks train for the same time. A baseline spends its budget on twelve learning
rates. Each finished run adds a row to benchmarks/selections.csv, and each of its training runs one
to benchmarks/trained_networks.csv, from which selections can be simulated. The same command resumes
an interrupted run. Requires ``data/naip_rgbn`` and ``data/gid5_rgb``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from mmengine.config import Config

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.search.halving.plan import SelectionPlan
from dnas_mmseg.search.selection.study import TrainingQueue

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / 'benchmarks/selections.csv'
NETWORKS = ROOT / 'benchmarks/trained_networks.csv'
BUDGET = 12
EPOCHS = {'naip': 24, 'gid5-rgb': 5}
"""Epochs of a full training run: about 770 steps on both data sets."""

BASELINES = {
    'HRNet-W18-small': 'hrnet/fcn_hr18s',
    'PSPNet R-18': 'pspnet/pspnet_r18-d8',
    'UNet': 'unet/fcn_unet_s5',
}
"""Configs of the baselines, before ``_naip.py`` or ``_gid5-rgb.py``."""

ARMS = ('halving', 'random', 'gradient', *BASELINES)
_STAGES = 3
_RATES = [2e-3 * 2 ** ((i - 6) / 2) for i in range(BUDGET)]
"""Learning rates of a baseline, in factors of sqrt(2) around that of the recipe."""


@dataclass(frozen=True)
class Run:
    """A run of an arm.

    Attributes:
        data: Key of the data set, ``'naip'`` or ``'gid5-rgb'``.
        arm: One of :data:`ARMS`.
        repeat: Number of the repeat, also its seed.
    """

    data: str
    arm: str
    repeat: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Key of the run's row."""
        return self.data, self.arm, str(self.repeat)

    def command(self, folder: Path) -> list[str]:
        """Return the arguments of ``tools/search.py``."""
        config = ROOT / f'configs/dnas/dnas_l12_w16_{self.data}.py'
        base = ['dnas', '--layers', '8', '--config', config, '--seed', self.repeat]
        base += ['--work-dir', folder, '--cfg-options', f'train_cfg.max_epochs={EPOCHS[self.data]}']
        if self.arm == 'gradient':
            # A search step takes about 1.5 times as long as a training step, on half the tiles.
            epochs = round((BUDGET * EPOCHS[self.data]) / _STAGES)
            base += ['--epochs', epochs, '--retrain']
        else:
            strategy = 'halving' if self.arm == 'halving' else 'random'
            base += ['--strategy', strategy, '--budget', BUDGET, '--threads', 1]
        if self.arm in BASELINES:
            base += ['--baselines', *self._baselines(folder)]
        if (folder / 'search.json').is_file():
            base.append('--resume')
        return list(map(str, base))

    def _baselines(self, folder: Path) -> list[Path]:
        """Write a config of the baseline for each learning rate, and return the paths."""
        inherited = ROOT / f'configs/{BASELINES[self.arm]}_{self.data}.py'
        paths = []
        for rate in _RATES:
            path = folder / f'baselines/{inherited.stem}_lr{rate:.1e}.py'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                f"_base_ = '{inherited}'\noptim_wrapper = dict(optimizer=dict(lr={rate}))\n"
            )
            paths.append(path)
        return paths

    def do(self, folder: Path) -> None:
        """Run the search and append its rows.

        Raises:
            RuntimeError: The run failed; the message contains the path of its log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        log = folder.with_suffix('.txt')
        command = ['nice', '-n', '19', sys.executable, '-W', 'ignore', 'tools/search.py']
        with log.open('a') as file:
            status = subprocess.run(
                [*command, *self.command(folder)],
                cwd=ROOT,
                env={**os.environ, 'OMP_NUM_THREADS': '1'},
                stdout=file,
                stderr=file,
            ).returncode
        if status:
            raise RuntimeError(f'{self}: failed, see {log}')
        networks, row = self._networks(folder), self._row(folder)  # both, before writing either
        append_rows(NETWORKS, networks)
        append_rows(ROWS, [row])

    def _row(self, folder: Path) -> dict[str, object]:
        test = folder / ('test' if self.arm == 'gradient' else 'final/test')
        scores = json.loads((test / 'test_scores.json').read_text())
        row: dict[str, object] = {
            'date': time.strftime('%Y-%m-%d'),
            'data': self.data,
            'arm': self.arm,
            'repeat': self.repeat,
            'network': '',
            'macs': '',
            'params': '',
            'score': '',
            'mIoU': scores['mIoU'],
            'OA': scores['OA'],
            'seconds': '',
        }
        board = folder / 'leaderboard.json'
        if board.is_file():
            document = json.loads(board.read_text())
            best = document['candidates'][0]
            full = [s['mIoU'] for s in best['scores'] if s['rung'] == 1]
            row |= {
                'network': best['name'],
                'macs': best['macs'],
                'params': best['params'],
                'score': round(sum(full) / len(full), 2),
                'seconds': round(sum(c['seconds'] for c in document['candidates'])),
            }
        else:
            cost = complexity(Config.fromfile(str(folder / 'retrain.py')), (512, 512))
            row |= {'network': 'found', 'macs': cost.macs, 'params': cost.parameters}
        return row

    def _networks(self, folder: Path) -> list[dict[str, object]]:
        """Return a row for each training run of the selection."""
        board = folder / 'leaderboard.json'
        if not board.is_file():
            return []
        costs = {row['name']: row for row in json.loads(board.read_text())['candidates']}
        queue = TrainingQueue(str(folder / 'trials.log'), {}, join=True)
        plan, rows = SelectionPlan.load(folder), []
        for key, (content, outcome) in queue.trainings().items():
            name, rung, _ = key.rsplit('-', 2)
            share, metadata = plan.rungs[int(rung)], outcome.metadata
            run = f'{self.arm} {self.repeat}'
            rows.append(
                network_row(
                    self.data, run, name, share, content, outcome.score, metadata, costs[name]
                )
            )
        return rows


def network_row(
    data: str,
    run: str,
    name: str,
    share: float,
    content: Mapping[str, Any],
    score: float | None,
    metadata: Mapping[str, Any],
    costs: Mapping[str, float],
) -> dict[str, object]:
    """Return the row of a training run in the table of networks.

    Args:
        data: Key of the data set.
        run: Arm and repeat, or benchmark, of the training run.
        name: Name of the network.
        share: Share of the full schedule.
        content: Content of the training run in the queue.
        score: mIoU; None if the training run failed.
        metadata: Metadata of the training run, such as its seconds.
        costs: Multiply-adds and parameters, ``'macs'`` and ``'params'``.
    """
    architecture = content.get('architecture')
    return {
        'data': data,
        'run': run,
        'network': name,
        'rung': round(share, 4),
        'epochs': content['epochs'],
        'seed': content['seed'],
        'mIoU': score,
        'seconds': metadata.get('seconds', ''),
        'macs': costs['macs'],
        'params': costs['params'],
        'architecture': json.dumps(architecture, separators=(',', ':')) if architecture else '',
    }


def append_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """Append rows to a CSV file, with a header if it is new."""
    if not rows:
        return
    with FileLock(f'{path}.lock'), path.open('a', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def missing(args: argparse.Namespace) -> list[Run]:
    """Return the requested runs without a row."""
    done: set[tuple[str, str, str]] = set()
    if ROWS.is_file():
        with ROWS.open() as file:
            done = {(r['data'], r['arm'], r['repeat']) for r in csv.DictReader(file)}
    wanted = [
        Run(data, arm, repeat) for data in args.data for repeat in args.repeats for arm in args.arms
    ]
    return [run for run in wanted if run.key not in done]


def table(data: str) -> str:
    """Return the runs on a data set as a Markdown table, the best arm first."""
    with ROWS.open() as file:
        rows = [row for row in csv.DictReader(file) if row['data'] == data]
    lines = []
    for arm in ARMS:
        own = sorted((r for r in rows if r['arm'] == arm), key=lambda r: int(r['repeat']))
        if not own:
            continue
        mean = statistics.mean(float(r['mIoU']) for r in own)
        macs = ', '.join(f'{float(r["macs"]) / 1e9:.2f}' if r['macs'] else '–' for r in own)
        scores = ', '.join(f'{float(r["mIoU"]):.1f}' for r in own)
        lines.append((-mean, f'| {arm} | {macs} | {scores} | **{mean:.1f}** |'))
    heading = '| | Multiply-adds, 512 x 512, G | Test mIoU by repeat | Mean |'
    return '\n'.join([heading, '|---|---:|---:|---:|', *(line for _, line in sorted(lines))])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', nargs='+', choices=['naip', 'gid5-rgb'], default=['naip'])
    parser.add_argument('--arms', nargs='+', choices=ARMS, default=list(ARMS))
    parser.add_argument('--repeats', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--workers', type=int, default=1, help='parallel runs')
    parser.add_argument('--list', action='store_true', help='only list missing runs')
    parser.add_argument('--table', action='store_true', help='only print the table')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/selections')
    args = parser.parse_args()
    if args.table:
        for data in args.data:
            print(table(data))
        return
    runs = missing(args)
    if args.list:
        for run in runs:
            print(' | '.join(run.key))
        return
    failed = []

    def do(run: Run) -> None:
        try:
            run.do(args.work_dir / '_'.join(run.key).replace(' ', '-'))
            print(f'done: {" | ".join(run.key)}', flush=True)
        except RuntimeError as error:
            failed.append(str(error))

    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(do, runs))
    if failed:
        sys.exit('\n'.join(failed))


if __name__ == '__main__':
    main()

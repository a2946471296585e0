"""Search an architecture, and write a config that trains it.

    dnas search dnas --config my_tiles.py --work-dir W --strategy halving --budget 24
    dnas search dnas --work-dir W --strategy halving --hours 8 --workers 4 --dry-run
    dnas search dnas --layers 14 --data-root data/gid5 --work-dir work_dirs/search
    dnas search dnas --work-dir work_dirs/search --resume      # continue an interrupted search
    dnas search dnas --layers 8 --config my_tiles.py --work-dir W --dry-run
    dnas search autodeeplab --data-root data/gid5 --work-dir W --epochs 40
    dnas search dnas --layers 12 --work-dir W --targets 8G 16G 32G   # three networks
    dnas train work_dirs/search/retrain.py                     # train the network found
    torchrun --nproc-per-node 4 -m dnas_mmseg search dnas --work-dir W --launcher pytorch

--strategy halving is recommended for your own data: successive halving trains candidates on short
schedules, promotes the best to the full schedule, predicts from their scores which candidates to
train next, and trains the winner. The budget is counted in full training runs. Other machines can
join with --join.

--strategy gradient, the default, is the method of the papers. Each stage trains the weights of a
supernet on one half of the training set and, after some epochs, the architecture parameters on the
other half. DNAS has three stages: scales of layers (path), connections between layers (connection)
and operations (cell). Auto-DeepLab has one (cell).

Data, classes and head are those of --config, a config of a network of the space on your tiles.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from .command_line import ArgumentParser, Overrides, UsageError, user_errors

COSTS = ('macs', 'params', 'latency')
SELECTION_STRATEGIES = ('halving', 'random')


def share(text: str) -> float:
    """Parse a share of the schedule, written as ``1/9`` or ``0.25``.

    Raises:
        ValueError: The text is not a number.
    """
    try:
        return float(Fraction(text))
    except ZeroDivisionError:
        raise ValueError(f'{text} is not a number') from None


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument('space', help='the search space: dnas, autodeeplab or densenas')
    parser.add_argument('--work-dir', type=Path, required=True, help='folder of all results')
    what = parser.add_argument_group('what to search')
    what.add_argument(
        '--layers',
        type=int,
        help='number of layers (default: that of the space, 14 for dnas)',
    )
    what.add_argument(
        '--base-channels',
        type=int,
        help='width of the network: base_channels, filters (default: that of the config)',
    )
    what.add_argument(
        '--stages',
        dest='levels',
        type=lambda text: tuple(text.split(',')),
        metavar='A,B',
        help='only these stages, e.g. connection,cell (default: all)',
    )
    what.add_argument('--architecture', help='architecture that the first of --stages starts from')
    what.add_argument(
        '--strategy',
        choices=['gradient', *SELECTION_STRATEGIES],
        help='gradient: train architecture parameters (default); halving: train candidates by '
        'successive halving; random: train random candidates, as a baseline',
    )
    data = parser.add_argument_group('data')
    data.add_argument(
        '--config',
        help='config of a network on your data, or of the data only (default: that of GID-5)',
    )
    data.add_argument('--data-root', help="replaces the config's data_root for all splits")
    data.add_argument('--crop', type=int, metavar='PIXELS', help='side of the training crops')
    data.add_argument(
        '--halves',
        nargs=2,
        metavar=('A.txt', 'B.txt'),
        help='tile lists for weights and architecture parameters; with halving for training and '
        'scoring (default: random split of the training list, with halving by scenes)',
    )
    how = parser.add_argument_group('schedule')
    how.add_argument('--epochs', type=int, help='epochs per stage (default: that of its config)')
    how.add_argument(
        '--arch-start',
        type=int,
        metavar='EPOCH',
        help='first epoch with architecture steps, from 0 (default: set by the config)',
    )
    how.add_argument('--batch', type=int, help='images per batch and process')
    how.add_argument(
        '--patience',
        type=int,
        metavar='EPOCHS',
        help='stop a stage after so many epochs without a change of architecture (default: never)',
    )
    how.add_argument(
        '--recompute',
        action='store_true',
        help='recompute activations: less memory, more time (with_cp)',
    )
    how.add_argument('--seed', type=int, help='random seed (default: 0)')
    how.add_argument(
        '--cfg-options',
        dest='options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override settings of the config: data, head, hooks, schedule of retraining',
    )
    how.add_argument(
        '--search-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override settings of the stages, e.g. optim_wrapper.optimizer.lr=0.01, or '
        'optim_wrapper.type=AmpOptimWrapper for mixed precision',
    )
    halving = parser.add_argument_group('selection by training (--strategy halving)')
    time = halving.add_mutually_exclusive_group()
    time.add_argument(
        '--budget', type=float, help='total budget in full training runs (default: 24)'
    )
    time.add_argument('--hours', type=float, help='derive the budget from a time limit')
    halving.add_argument(
        '--rungs',
        nargs='+',
        type=share,
        metavar='SHARE',
        help='fidelities: shares of the full schedule (default: 1/9 1)',
    )
    halving.add_argument(
        '--candidates',
        nargs='+',
        metavar='A.json',
        help="additional candidates; 'gradient' adds the result of a gradient search",
    )
    halving.add_argument(
        '--baselines',
        nargs='+',
        metavar='CONFIG',
        help='configs of other networks to compare with, trained on the full schedule',
    )
    halving.add_argument(
        '--workers', type=int, help='parallel training runs on this machine (default: 1)'
    )
    halving.add_argument(
        '--threads', type=int, help='CPU threads per training run (default: cores / workers)'
    )
    halving.add_argument(
        '--storage',
        metavar='URL',
        help='storage of the queue: a journal file shared by all machines, or a database, e.g. '
        'postgresql+psycopg://user@host/name (default: a journal file in the work dir)',
    )
    halving.add_argument(
        '--join', action='store_true', help='join the selection in --storage from another machine'
    )
    halving.add_argument(
        '--pace',
        metavar='JSON',
        help='use pace.json of another selection instead of timing steps; selections with the same '
        'seed and pace are identical',
    )
    cost = parser.add_argument_group('cost target')
    cost.add_argument(
        '--targets', nargs='+', metavar='X',
        help='e.g. 10G, 2.5M or 40ms; a gradient search finds one network per target; with '
        'halving, one target is an upper limit',
    )  # fmt: skip
    cost.add_argument(
        '--cost',
        choices=COSTS,
        help='multiply-adds, parameters or latency (default: latency for targets in ms, else macs)',
    )
    cost.add_argument(
        '--cost-size', type=int, metavar='PIXELS', help='side of the images (default: 512)'
    )
    cost.add_argument('--cost-weight', type=float, help='weight of the cost term (default: 1)')
    cost.add_argument('--latency-table', metavar='JSON', help='table of dnas measure-latency')
    run = parser.add_argument_group('this run')
    run.add_argument(
        '--resume',
        action='store_true',
        help='continue an interrupted search; settings are restored, except --storage, --workers '
        'and the options below',
    )
    run.add_argument(
        '--retry-failed',
        action='store_true',
        help='with --resume: retry failed training runs (--strategy halving)',
    )
    run.add_argument(
        '--dry-run', action='store_true', help='only print the plan and the estimated time'
    )
    run.add_argument('--retrain', action='store_true', help='also train and test the network found')
    run.add_argument('--tensorboard', action='store_true', help='also log for TensorBoard')
    run.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    run.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    work_dir, launcher = args.pop('work_dir'), args.pop('launcher')
    os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    run = {key: args.pop(key, False) for key in ('resume', 'dry_run', 'retrain', 'tensorboard')}
    retry_failed = args.pop('retry_failed', False)
    with user_errors():
        from dnas_mmseg.search.halving.plan import is_selection
        from dnas_mmseg.search.pipeline import search
        from dnas_mmseg.search.plan import SearchPlan
        from dnas_mmseg.search.selection.study import public_name

        is_selection_strategy = args.get('strategy') in SELECTION_STRATEGIES or (
            'strategy' not in args and (is_selection(work_dir) or args.get('join'))
        )
        storage = args.get('storage')
        queue = '' if storage is None else f' --storage {shlex.quote(public_name(storage))}'
        try:
            if is_selection_strategy:
                if launcher != 'none':
                    raise UsageError(
                        '--launcher requires --strategy gradient; use --workers instead'
                    )
                from dnas_mmseg.search.halving.worker import interrupt_on

                interrupt_on(signal.SIGTERM)  # otherwise workers would continue
                _select(args, work_dir, retry_failed=retry_failed, **run)
                return
            unsupported = [f'--{name}' for name in _SELECTION_OPTIONS if name in args]
            unsupported += ['--retry-failed'] * retry_failed
            if unsupported:
                raise UsageError(f'{", ".join(unsupported)}: not supported by --strategy gradient')
            args.pop('strategy', None)
            plan = SearchPlan.from_options(args, work_dir, run['resume'])
            search(plan, work_dir, launcher=launcher, **run)
        except KeyboardInterrupt:
            sys.exit(
                f'interrupted; resume with: dnas search {args["space"]} '
                f'--work-dir {shlex.quote(str(work_dir))} --resume{queue}'
            )


_SELECTION_OPTIONS = (
    'budget', 'hours', 'rungs', 'candidates', 'baselines', 'workers', 'threads', 'storage', 'join',
    'pace',
)  # fmt: skip
"""Options of the strategies that train candidates."""


def _select(
    args: dict[str, Any],
    work_dir: Path,
    resume: bool,
    dry_run: bool,
    retrain: bool,
    tensorboard: bool,
    retry_failed: bool,
) -> None:
    """Run a selection by training."""
    from dnas_mmseg.cpus import usable_cores
    from dnas_mmseg.search.halving.pipeline import estimate_budget, load_shared_plan, select_network
    from dnas_mmseg.search.halving.plan import SelectionPlan, is_selection, merge_options

    if retrain or tensorboard:
        raise UsageError(
            '--retrain and --tensorboard require --strategy gradient; a selection trains its winner'
        )
    workers, storage = args.pop('workers', 1), args.pop('storage', None)
    if workers < 1:
        raise UsageError(f'--workers {workers}: must be at least 1')
    hours, join, pace = args.pop('hours', None), args.pop('join', False), args.pop('pace', None)
    before = None
    if join and storage is not None:
        before = load_shared_plan(storage)
    elif resume and is_selection(work_dir):
        before = SelectionPlan.load(work_dir)
    if before is None:
        args.setdefault('threads', max(1, usable_cores() // workers))
        args.setdefault('budget', _BUDGET)
    plan = merge_options(before, args)
    if hours is not None and before is None:
        plan = replace(plan, budget=estimate_budget(plan, work_dir, hours, workers))
        print(f'{hours:g} hours correspond to a budget of {plan.budget:g} full training runs')
    select_network(
        plan,
        work_dir,
        storage=storage,
        workers=workers,
        resume=resume,
        join=join,
        dry_run=dry_run,
        retry_failed=retry_failed,
        pace=pace,
    )


_BUDGET = 24.0
"""Default budget in full training runs. With it, selections in a tabular benchmark of 2,507 trained
networks came close to the best one (benchmarks/selection.md); a smaller one is less reliable."""

"""Search a network: from tiles to an architecture and a config that trains it.

    dnas search dnas --config my_tiles.py --work-dir W --strategy halving --budget 24
    dnas search dnas --work-dir W --strategy halving --hours 8 --workers 4 --dry-run
    dnas search dnas --layers 14 --data-root data/gid5 --work-dir work_dirs/search
    dnas search dnas --work-dir work_dirs/search --resume      # go on where it stopped
    dnas search dnas --layers 8 --config my_tiles.py --work-dir W --dry-run
    dnas search autodeeplab --data-root data/gid5 --work-dir W --epochs 40
    dnas search dnas --layers 12 --work-dir W --targets 8G 16G 32G   # three networks
    dnas train work_dirs/search/retrain.py                     # train what was found
    torchrun --nproc-per-node 4 -m dnas_mmseg search dnas --work-dir W --launcher pytorch

--strategy halving is the one for your own tiles, within your own time: it trains candidates,
short first and then fully, learns from the scores which others to train, and leaves the winner
trained. A budget is counted in full trainings. Any number of machines help by --join.

--strategy gradient, the default, is that of the papers. Each stage begins with fresh weights and
trains a supernet on one half of the training set, and from some epoch on the architecture on the
other half. DNAS has three: the scale of every layer (path), connections between layers
(connection), operations (cell); Auto-DeepLab decides all at once (cell).

Data, classes and head come from --config, a config of a network of the space on your tiles.
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
BY_TRAININGS = ('halving', 'random')


def share(text: str) -> float:
    """Return a share of the schedule that is written as ``1/9`` or ``0.25``.

    Raises:
        ValueError: It is no number.
    """
    try:
        return float(Fraction(text))
    except ZeroDivisionError:
        raise ValueError(f'{text} is no number') from None


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument('space', help='the search space: dnas, autodeeplab or densenas')
    parser.add_argument('--work-dir', type=Path, required=True, help='everything goes there')
    what = parser.add_argument_group('what to search')
    what.add_argument(
        '--layers',
        type=int,
        help="number of layers (default: the space's, 14 for dnas, whatever the config has)",
    )
    what.add_argument(
        '--base-channels',
        type=int,
        help="width of the network: base_channels, filters (default: the config's)",
    )
    what.add_argument(
        '--stages',
        dest='levels',
        type=lambda text: tuple(text.split(',')),
        metavar='A,B',
        help='only these stages, e.g. connection,cell (default: all)',
    )
    what.add_argument(
        '--architecture', help='what the first stage starts from, if it is not the first of all'
    )
    what.add_argument(
        '--strategy',
        choices=['gradient', *BY_TRAININGS],
        help='by architecture parameters, as the papers do (default), or by real trainings: '
        'halving, or random, which any strategy must beat',
    )
    data = parser.add_argument_group('on what')
    data.add_argument(
        '--config',
        help="config of a searched network on your data, or of the data (default: GID-5's)",
    )
    data.add_argument('--data-root', help="replaces the config's data_root for all splits")
    data.add_argument('--crop', type=int, metavar='PIXELS', help='side of the crops in the search')
    data.add_argument(
        '--halves',
        nargs=2,
        metavar=('A.txt', 'B.txt'),
        help='lists for weights and architecture, or to train on and to score on with halving '
        '(default: a random split of the training list, with halving by scenes)',
    )
    how = parser.add_argument_group('how')
    how.add_argument('--epochs', type=int, help="of each stage (default: its config's)")
    how.add_argument(
        '--arch-start',
        type=int,
        metavar='EPOCH',
        help="first epoch with architecture steps, from 0 (default: its config's share of them)",
    )
    how.add_argument('--batch', type=int, help='images a batch and process, in the search')
    how.add_argument(
        '--patience',
        type=int,
        metavar='EPOCHS',
        help='end a stage when its architecture has not changed for so long (default: never)',
    )
    how.add_argument(
        '--recompute', action='store_true', help='less memory, more time (with_cp of the supernets)'
    )
    how.add_argument('--seed', type=int, help='of everything random (default: 0)')
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
    halving = parser.add_argument_group('choosing by trainings (--strategy halving)')
    time = halving.add_mutually_exclusive_group()
    time.add_argument('--budget', type=float, help='of all trainings, in full ones (default: 24)')
    time.add_argument('--hours', type=float, help='the budget that fits into so many hours')
    halving.add_argument(
        '--rungs',
        nargs='+',
        type=share,
        metavar='SHARE',
        help='shares of the full schedule that candidates are trained on (default: 1/9 1)',
    )
    halving.add_argument(
        '--candidates',
        nargs='+',
        metavar='A.json',
        help="architectures that take part; 'gradient' runs a gradient search for one",
    )
    halving.add_argument(
        '--baselines',
        nargs='+',
        metavar='CONFIG',
        help='configs of other networks to compare with; they train in the last rung',
    )
    halving.add_argument(
        '--workers', type=int, help='trainings at a time on this machine (default: 1)'
    )
    halving.add_argument(
        '--threads', type=int, help='of each training (default: the cores, shared out)'
    )
    halving.add_argument(
        '--storage',
        metavar='URL',
        help='of the queue: a journal file that all machines see, or a database, e.g. '
        'postgresql+psycopg://user@host/name (default: a journal file in the work dir)',
    )
    halving.add_argument(
        '--join', action='store_true', help='help the selection in --storage, from another machine'
    )
    halving.add_argument(
        '--pace',
        metavar='JSON',
        help='pace.json of another selection, in place of timed steps: two selections of one seed '
        'are equal where their pace is',
    )
    cost = parser.add_argument_group('what the network is to cost')
    cost.add_argument(
        '--targets', nargs='+', metavar='X',
        help='e.g. 10G, 2.5M or 40ms; several networks are found in one search; with halving one, '
        'which is a limit',
    )  # fmt: skip
    cost.add_argument(
        '--cost',
        choices=COSTS,
        help='multiply-adds, parameters or latency (default: latency of targets in ms, else macs)',
    )
    cost.add_argument(
        '--cost-size', type=int, metavar='PIXELS', help='side of the images (default: 512)'
    )
    cost.add_argument('--cost-weight', type=float, help='how hard to push (default: 1)')
    cost.add_argument('--latency-table', metavar='JSON', help='what dnas measure-latency wrote')
    run = parser.add_argument_group('this run')
    run.add_argument(
        '--resume',
        action='store_true',
        help='go on; what was given then may be left out, except '
        '--storage, --workers and what is below',
    )
    run.add_argument(
        '--retry-failed',
        action='store_true',
        help='with --resume: train again what has failed (--strategy halving)',
    )
    run.add_argument('--dry-run', action='store_true', help='only say what and how long')
    run.add_argument('--retrain', action='store_true', help='then train and test what was found')
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

        by_trainings = args.get('strategy') in BY_TRAININGS or (
            'strategy' not in args and (is_selection(work_dir) or args.get('join'))
        )
        storage = args.get('storage')
        queue = '' if storage is None else f' --storage {shlex.quote(public_name(storage))}'
        try:
            if by_trainings:
                if launcher != 'none':
                    raise UsageError('--launcher is of --strategy gradient; --workers is of others')
                from dnas_mmseg.search.halving.worker import interrupt_on

                interrupt_on(signal.SIGTERM)  # workers would go on by themselves
                _select(args, work_dir, retry_failed=retry_failed, **run)
                return
            given = [f'--{name}' for name in _OF_TRAININGS if name in args]
            given += ['--retry-failed'] * retry_failed
            if given:
                raise UsageError(f'{", ".join(given)}: not of --strategy gradient')
            args.pop('strategy', None)
            plan = SearchPlan.from_options(args, work_dir, run['resume'])
            search(plan, work_dir, launcher=launcher, **run)
        except KeyboardInterrupt:
            sys.exit(
                f'interrupted; it goes on with: dnas search {args["space"]} '
                f'--work-dir {shlex.quote(str(work_dir))} --resume{queue}'
            )


_OF_TRAININGS = (
    'budget', 'hours', 'rungs', 'candidates', 'baselines', 'workers', 'threads', 'storage', 'join',
    'pace',
)  # fmt: skip
"""Options of strategies that choose by trainings."""


def _select(
    args: dict[str, Any],
    work_dir: Path,
    resume: bool,
    dry_run: bool,
    retrain: bool,
    tensorboard: bool,
    retry_failed: bool,
) -> None:
    """Choose by trainings, as the arguments say."""
    from dnas_mmseg.cpus import usable_cores
    from dnas_mmseg.search.halving.pipeline import estimate_budget, load_shared_plan, select_network
    from dnas_mmseg.search.halving.plan import SelectionPlan, is_selection, merge_options

    if retrain or tensorboard:
        raise UsageError(
            '--retrain and --tensorboard are of --strategy gradient; a selection trains its winner'
        )
    workers, storage = args.pop('workers', 1), args.pop('storage', None)
    if workers < 1:
        raise UsageError(f'--workers {workers}: at least 1 is needed')
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
        print(f'{hours:g} hours are worth a budget of {plan.budget:g} full trainings here')
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
"""Full trainings with which a selection on real networks came near to the best of 2,507."""

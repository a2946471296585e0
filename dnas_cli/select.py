"""Compare networks of many families on your tiles within some hours, and train the best one.

    dnas select --config mine.py --hours 8 --work-dir W
    dnas select --config mine.py --hours 8 --work-dir W --dry-run
    dnas select --work-dir W --resume                          # continue an interrupted selection
    dnas select --config mine.py --hours 2 --work-dir W --families unet my_hrnet.py
    dnas select --config mine.py --hours 8 --work-dir W --limit 5G --prefer cost
    dnas predict W/retrain.py W/final scene.tif --out-dir maps

A portfolio of known good networks is trained briefly (U-Net on a pretrained encoder, HRNet, FPN,
SegFormer, PSPNet, DeepLabV3+, DNAS and DenseNAS networks), together with networks sampled from the
search spaces. The best are trained further; nothing is trained again. The hours determine how many
candidates there are and how long they are trained. The winner is trained further on the whole
training list.

--families selects search spaces (dnas, densenas, autodeeplab), names of the portfolio, or configs
of your own. A config can declare settings to choose from:
choices = {'optim_wrapper.optimizer.lr': {'log_range': (5e-4, 4e-3)}}. Other machines can join with
--join.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from .command_line import (
    ArgumentParser,
    Overrides,
    UsageError,
    add_cost_options,
    random_seed,
    user_errors,
)


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument('--work-dir', type=Path, required=True, help='folder of all results')
    what = parser.add_argument_group('what to select')
    what.add_argument('--config', help='config of any network on your data')
    what.add_argument(
        '--hours', type=float, help='time for the selection and the training of its winner'
    )
    what.add_argument('--data-root', help="replaces the config's data_root for all splits")
    what.add_argument(
        '--families',
        nargs='+',
        metavar='NAME',
        help='families of networks or configs (default: your config and the portfolio)',
    )
    what.add_argument(
        '--candidates', nargs='+', metavar='A.json', help='architectures to try first'
    )
    what.add_argument(
        '--layers', type=int, help='layers of networks of search spaces (default: 12 for dnas)'
    )
    what.add_argument(
        '--lists',
        nargs=2,
        metavar=('TRAIN.txt', 'SCORED.txt'),
        help='tile lists for training and scoring (default: training and validation list of the '
        'config; a split of the training list if the validation list cannot be used)',
    )
    what.add_argument('--seed', type=random_seed, help='random seed (default: 0)')
    what.add_argument(
        '--cfg-options',
        dest='options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    cost = parser.add_argument_group('cost')
    cost.add_argument('--limit', metavar='X', help='largest cost: 10G, 2.5M or 40ms')
    add_cost_options(cost)
    cost.add_argument(
        '--prefer',
        choices=['accuracy', 'cost'],
        help='train the most accurate network (default), or the cheapest that is not clearly worse',
    )
    cost.add_argument(
        '--ensemble',
        type=int,
        metavar='K',
        help='also combine up to K finalists: W/ensemble.py and W/ensemble.pth (default: none)',
    )
    run = parser.add_argument_group('this run')
    run.add_argument(
        '--workers',
        type=int,
        help='parallel training runs on this machine (default: one per visible GPU, else 1)',
    )
    run.add_argument(
        '--threads', type=int, help='CPU threads per training run (default: cores / workers)'
    )
    run.add_argument(
        '--storage',
        metavar='URL',
        help='storage of the queue: a journal file shared by all machines, or a database, e.g. '
        'postgresql+psycopg://user@host/name (default: a journal file in the work dir)',
    )
    run.add_argument(
        '--join', action='store_true', help='join the selection in --storage from another machine'
    )
    run.add_argument(
        '--pace',
        metavar='JSON',
        help='use pace.json of another selection instead of timing steps; selections with the same '
        'seed and pace are identical',
    )
    run.add_argument(
        '--resume',
        action='store_true',
        help='continue an interrupted selection; settings are restored, except --storage and '
        '--workers',
    )
    run.add_argument(
        '--retry-failed', action='store_true', help='with --resume: retry failed training runs'
    )
    run.add_argument(
        '--dry-run', action='store_true', help='only print the plan and the estimated time'
    )
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    work_dir, storage = args.pop('work_dir'), args.pop('storage', None)
    given, pace = args.pop('workers', None), args.pop('pace', None)
    run = {key: args.pop(key, False) for key in ('resume', 'join', 'dry_run', 'retry_failed')}
    with user_errors():
        from dnas_mmseg.cpus import usable_cores
        from dnas_mmseg.selection.plan import SelectionPlan, is_selection, merge_options
        from dnas_mmseg.selection.queue import public_name
        from dnas_mmseg.selection.run import load_shared_plan, select_network
        from dnas_mmseg.selection.workers import default_workers, interrupt_on

        interrupt_on(signal.SIGTERM)  # otherwise workers would continue
        workers = default_workers() if given is None else given
        if workers < 1:
            raise UsageError(f'--workers {workers}: must be at least 1')
        if run['join'] and storage is None:
            raise UsageError('--join requires the --storage of the selection')
        before = None
        if run['join']:
            before = load_shared_plan(storage)
        elif run['resume'] and is_selection(work_dir):
            before = SelectionPlan.load(work_dir)
        else:
            args.setdefault('threads', max(1, usable_cores() // workers))
        again = '' if storage is None else f' --storage {shlex.quote(public_name(storage))}'
        again += '' if given is None else f' --workers {workers}'
        try:
            select_network(
                merge_options(before, args),
                work_dir,
                storage=storage,
                workers=workers,
                pace=pace,
                **run,
            )
        except KeyboardInterrupt:
            sys.exit(
                f'interrupted; resume with: dnas select --work-dir {shlex.quote(str(work_dir))} '
                f'--resume{again}'
            )

"""Search an architecture, and write a config that trains it.

    dnas search dnas --layers 14 --data-root data/gid5 --work-dir work_dirs/search
    dnas search dnas --work-dir work_dirs/search --resume      # continue an interrupted search
    dnas search dnas --layers 8 --config my_tiles.py --work-dir W --dry-run
    dnas search autodeeplab --data-root data/gid5 --work-dir W --epochs 40
    dnas search dnas --layers 12 --work-dir W --targets 8G 16G 32G   # three networks
    dnas train work_dirs/search/retrain.py                     # train the network found
    torchrun --nproc-per-node 4 -m dnas_mmseg search dnas --work-dir W --launcher pytorch

This is the method of the papers: each stage trains the weights of a supernet on one half of the
training set and, after some epochs, the architecture parameters on the other half. DNAS has three
stages: scales of layers (path), connections between layers (connection) and operations (cell).
Auto-DeepLab and DenseNAS have one (cell). To compare networks of many families on your tiles, use
`dnas select`.

Data, classes and head are those of --config, a config of a network of the space on your tiles.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from .command_line import ArgumentParser, Overrides, add_cost_options, random_seed, user_errors


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
        help='tile lists for weights and architecture parameters (default: random split of the '
        'training list)',
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
    how.add_argument('--seed', type=random_seed, help='random seed (default: 0)')
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
    cost = parser.add_argument_group('cost target')
    cost.add_argument(
        '--targets', nargs='+', metavar='X',
        help='e.g. 10G, 2.5M or 40ms; the search finds one network per target',
    )  # fmt: skip
    add_cost_options(cost)
    cost.add_argument('--cost-weight', type=float, help='weight of the cost term (default: 1)')
    run = parser.add_argument_group('this run')
    run.add_argument(
        '--resume',
        action='store_true',
        help='continue an interrupted search; settings are restored',
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
    with user_errors():
        from dnas_mmseg.search.pipeline import search
        from dnas_mmseg.search.plan import SearchPlan

        try:
            plan = SearchPlan.from_options(args, work_dir, run['resume'])
            search(plan, work_dir, launcher=launcher, **run)
        except KeyboardInterrupt:
            sys.exit(
                f'interrupted; resume with: dnas search {args["space"]} '
                f'--work-dir {shlex.quote(str(work_dir))} --resume'
            )

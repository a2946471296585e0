"""Train a network.

    dnas train dnas_mmseg::dnas/dnas_l14_gid5.py --data-root data/gid5
    dnas train dnas_mmseg::dnas/dnas_l14_gid5.py --resume            # go on where it stopped
    dnas train dnas_mmseg::hrnet/fcn_hr18s_naip.py --seeds 4         # and what chance does
    torchrun --nproc-per-node 4 -m dnas_mmseg train CONFIG --launcher pytorch --sync-bn

Data and files are checked before the first step. A training that is stopped at any moment goes on
by --resume as if it had not been. Logs and checkpoints go to the work dir.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .command_line import UsageError, config_parser, parse_run_args, run_config, user_errors


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--resume', action='store_true', help='continue from the last checkpoint in the work dir'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        metavar='N',
        help='train and test N times, with seeds from randomness.seed on: a table of the scores '
        'with mean and deviation, and each training in seed_<n> of the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--class-weights',
        action='store_true',
        help='weigh the classes in the loss by their shares in the training set (median / share)',
    )
    parser.add_argument(
        '--sync-bn', action='store_true', help='batch norm over all GPUs (small batches a GPU)'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='learning rate x (GPUs x batch) / auto_scale_lr.base_batch_size',
    )
    return parse_run_args(parser)


def main() -> None:
    args = parse_args()
    with user_errors():
        from mmengine.dist import is_main_process
        from rich.console import Console

        from dnas_mmseg.engine.checkpoints import last_checkpoint
        from dnas_mmseg.engine.config_checks import check_mixed_precision
        from dnas_mmseg.engine.running import train, weight_classes
        from dnas_mmseg.engine.seeds import train_seeds

        config = run_config(args)
        if args.seeds is not None and args.seeds < 1:
            raise UsageError(f'--seeds {args.seeds}: at least 1 is needed')
        if args.amp:
            config.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
            check_mixed_precision(config)
        if args.sync_bn:
            config.sync_bn = 'torch'
        if args.auto_scale_lr:
            if 'auto_scale_lr' not in config:
                raise UsageError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size')
            config.auto_scale_lr.enable = True
        if args.class_weights:
            print('class weights:', weight_classes(config))
        if args.seeds is None:
            begun = last_checkpoint(config.work_dir) is not None
            if begun and not args.resume and not config.get('resume'):
                raise UsageError(
                    f'{config.work_dir} holds a training already: --resume goes on with it; choose '
                    'another --work-dir for a new one'
                )
            if args.resume and not begun:
                print(f'note: {config.work_dir} holds no training yet: it begins now')
            config.resume = args.resume or config.get('resume', False)
            train(config)
            return
        result = train_seeds(config, args.seeds, args.resume)
        if is_main_process():
            Console(width=None if sys.stdout.isatty() else 200).print(result.table())
            print(result.summary())
            print(Path(config.work_dir) / 'scores.csv')

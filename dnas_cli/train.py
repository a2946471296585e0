"""Train a network.

    dnas train dnas_mmseg::dnas/dnas_l14_gid5.py --data-root data/gid5
    dnas train dnas_mmseg::dnas/dnas_l14_gid5.py --resume            # continue an interrupted run
    dnas train mine.py --hours 2 --early-stopping 5
    dnas train mine.py --batch-size auto --log-to tensorboard
    dnas train dnas_mmseg::hrnet/fcn_hr18s_naip.py --seeds 4         # standard deviation over seeds
    dnas train mine.py --folds                                       # cross-validation
    torchrun --nproc-per-node 4 -m dnas_mmseg train CONFIG --launcher pytorch --sync-bn

Data and files are checked before the first step. --resume continues an interrupted run and yields
the same results as an uninterrupted one. Logs and checkpoints are written to the work dir.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .command_line import UsageError, config_parser, parse_run_args, run_config, user_errors


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--resume', action='store_true', help='resume from the last checkpoint in the work dir'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        metavar='N',
        help='train and test N times, with seeds randomness.seed, +1, ...; print mean and standard '
        'deviation of each score; each run is in seed_<n> of the work dir',
    )
    parser.add_argument(
        '--folds',
        action='store_true',
        help='train and test on each fold of `dnas split --folds`; print mean and standard '
        'deviation of each score; each run is in fold_<n> of the work dir',
    )
    parser.add_argument(
        '--hours',
        type=float,
        help='time limit: scale the schedule to fit, timed on a few iterations',
    )
    parser.add_argument(
        '--freeze',
        choices=['encoder'],
        help='train only the heads; freeze the weights of the encoder',
    )
    parser.add_argument(
        '--early-stopping',
        type=int,
        metavar='N',
        help='stop after N validations without a higher mIoU',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the training steps for a GPU, for small networks and small tiles',
    )
    parser.add_argument(
        '--class-weights',
        action='store_true',
        help='weight the classes in the loss by median share / share in the training set',
    )
    parser.add_argument(
        '--sync-bn',
        action='store_true',
        help='synchronise batch norm over all GPUs, for small batches per GPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by (GPUs x batch) / auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--batch-size',
        type=_batch_size,
        metavar='N',
        help='tiles per step and GPU; auto: the largest power of two that fits into the memory of '
        'the GPU',
    )
    parser.add_argument(
        '--log-to',
        nargs='+',
        metavar='BACKEND',
        help='also log to tensorboard, mlflow, wandb or another backend of mmengine',
    )
    return parse_run_args(parser)


def _batch_size(text: str) -> int | str:
    """Parse ``auto`` or a positive integer."""
    if text == 'auto':
        return text
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text}: expected auto or a positive integer')
    return int(text)


def main() -> None:
    args = parse_args()
    with user_errors():
        from mmengine.dist import is_main_process
        from rich.console import Console

        from dnas_mmseg.engine.batch_size import set_largest_batch
        from dnas_mmseg.engine.checkpoints import find_usable_checkpoint, last_checkpoint
        from dnas_mmseg.engine.config_checks import (
            check_mixed_precision,
            check_sync_batch_norm,
            log_to,
            warn,
        )
        from dnas_mmseg.engine.length import set_length
        from dnas_mmseg.engine.running import (
            compile_steps,
            freeze_encoder,
            stop_early,
            train,
            weight_classes,
        )
        from dnas_mmseg.engine.seeds import (
            check_new_runs,
            first_fold,
            has_runs,
            train_folds,
            train_seeds,
        )

        if args.hours is not None and args.launcher != 'none':
            raise UsageError('--hours times one process: set train_cfg.max_epochs instead')
        if args.folds and args.seeds is not None:
            raise UsageError('--folds and --seeds exclude each other')
        config = run_config(args)
        if args.seeds is not None and args.seeds < 1:
            raise UsageError(f'--seeds {args.seeds}: must be at least 1')
        if args.folds:
            config = first_fold(config)  # what follows measures the tiles of a fold
        if args.amp:
            config.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
            check_mixed_precision(config)
        if args.compile:
            compile_steps(config)
        if args.sync_bn:
            config.sync_bn = 'torch'
            check_sync_batch_norm(config)
        if args.auto_scale_lr:
            if not config.get('auto_scale_lr'):
                raise UsageError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size')
            config.auto_scale_lr.enable = True
        if args.log_to:
            log_to(config, args.log_to)
        if args.class_weights and not args.folds:
            print('class weights:', weight_classes(config))
        if args.freeze is not None:
            freeze_encoder(config)
        if args.early_stopping is not None:
            stop_early(config, args.early_stopping)
        started = last_checkpoint(config.work_dir) is not None
        resume = args.resume or config.get('resume', False)
        repeated = args.seeds is not None or args.folds
        if not repeated and started and not resume:
            raise UsageError(
                f'{config.work_dir} contains a training run: continue it with --resume, or '
                'choose another --work-dir'
            )
        if repeated and not args.resume:
            check_new_runs(config.work_dir)
        if args.batch_size == 'auto':
            if args.launcher != 'none' or resume:
                raise UsageError(
                    '--batch-size auto measures one new process: set a number with --launcher, '
                    'and that of the first run with --resume'
                )
            print(f'batch size {set_largest_batch(config)}; the learning rate is unchanged')
        elif args.batch_size is not None:
            config.train_dataloader.batch_size = args.batch_size
        if args.hours is not None:
            continued = resume and (
                has_runs(config.work_dir)
                if repeated
                else find_usable_checkpoint(config.work_dir)[0] is not None
            )
            print(set_length(config, args.hours, continued))
        if not repeated:
            if args.resume:
                usable, problems = find_usable_checkpoint(config.work_dir)
                config.resume = usable is not None
                if config.resume:
                    config.load_from = None  # the weights that it started from
                else:
                    problems = problems or [f'{config.work_dir} contains no training run']
                    warn(f'{"; ".join(problems)}; a new training run starts')
            else:
                config.resume = resume
            train(config)
            return
        if args.folds:
            result = train_folds(config, args.resume, args.class_weights)
        else:
            result = train_seeds(config, args.seeds, args.resume)
        if is_main_process():
            Console(width=None if sys.stdout.isatty() else 200).print(result.table())
            print(result.summary())
            print(Path(config.work_dir) / 'scores.csv')

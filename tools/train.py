"""Train a model.

python tools/train.py configs/dnas/dnas_l14_gid5.py --data-root data/gid5
python tools/train.py configs/dnas/dnas_l14_gid5.py --resume          # go on where it stopped
tools/dist_train.sh configs/dnas/dnas_l14_gid5.py 4 --sync-bn --auto-scale-lr
"""

import argparse
import os

from mmengine.config import DictAction

from dnas_mmseg.apis import train, weight_classes
from dnas_mmseg.apis.command_line import load_config, set_launcher, user_errors
from dnas_mmseg.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config of this project, or any mmseg config')
    parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    parser.add_argument('--work-dir', help='logs and checkpoints (default: work_dirs/<config>)')
    parser.add_argument(
        '--resume', action='store_true', help='continue from the last checkpoint in the work dir'
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
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings, e.g. train_cfg.max_epochs=60 param_scheduler.T_max=60',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    with user_errors():
        config = load_config(
            args.config,
            data_root=args.data_root,
            work_dir=args.work_dir,
            options=args.cfg_options,
        )
        set_launcher(config, args.launcher)
        if args.resume:
            config.resume = True
        if args.amp:
            config.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        if args.sync_bn:
            config.sync_bn = 'torch'
        if args.auto_scale_lr:
            if 'auto_scale_lr' not in config:
                raise UserError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size')
            config.auto_scale_lr.enable = True
        if args.class_weights:
            print('class weights:', weight_classes(config))
        train(config)


if __name__ == '__main__':
    main()

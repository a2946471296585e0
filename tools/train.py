"""Train a model.

python tools/train.py configs/dnas/dnas_l14_gid5.py --data-root data/gid5
python tools/train.py configs/dnas/dnas_l14_gid5.py --resume          # go on where it stopped
tools/dist_train.sh configs/dnas/dnas_l14_gid5.py 4 --sync-bn --auto-scale-lr
"""

import argparse

from dnas_mmseg.apis import train, weight_classes
from dnas_mmseg.apis.command_line import (
    config_parser,
    load_config,
    parse_run_args,
    set_launcher,
    user_errors,
)
from dnas_mmseg.apis.config_checks import check_mixed_precision
from dnas_mmseg.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
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
    return parse_run_args(parser)


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
            check_mixed_precision(config)
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

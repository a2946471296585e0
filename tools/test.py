"""Test a checkpoint on the config's test set; scores by class go to the log and to a JSON file.

    python tools/test.py configs/dnas/dnas_l14_gid5.py \\
        work_dirs/dnas_l14_gid5/best_mIoU_epoch_187.pth --data-root data/gid5
"""

import argparse
import os

from mmengine.config import DictAction

from dnas_mmseg.apis import test
from dnas_mmseg.apis.command_line import load_config, set_launcher, user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config the checkpoint was trained with')
    parser.add_argument('checkpoint', help='a checkpoint of this model')
    parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    parser.add_argument('--work-dir', help='where test_scores.json goes')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override settings'
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
        test(config, args.checkpoint)


if __name__ == '__main__':
    main()

"""Test a checkpoint on the config's test set; scores by class go to the log and to a JSON file.

    python tools/test.py configs/dnas/dnas_l14_gid5.py \\
        work_dirs/dnas_l14_gid5/best_mIoU_epoch_187.pth --data-root data/gid5
"""

from __future__ import annotations

from dnas_mmseg.engine.running import test

from .command_line import config_parser, parse_run_args, run_config, user_errors


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='a checkpoint of this model')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='average the predictions over each tile and its two mirror images: three times the '
        'time, usually a little better',
    )
    args = parse_run_args(parser)
    with user_errors():
        test(run_config(args), args.checkpoint, flips=args.tta)

"""Draw tiles with their labels, as the training pipeline loads and augments them.

    dnas browse CONFIG --out-dir pictures
    dnas browse CONFIG --split val --number 4

`dnas check` checks the files of a data set.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import config_parser, user_errors


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--out-dir', type=Path, default=Path('browse'), help='output folder')
    parser.add_argument('--number', type=int, default=12, help='number of samples (default: 12)')
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.engine.browsing import browse
        from dnas_mmseg.engine.configs import load_config

        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        for path in browse(config, args.split, args.number).save(args.out_dir):
            print(path)

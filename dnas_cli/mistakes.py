"""Show the errors of a model: confusion matrix and worst tiles.

    dnas mistakes CONFIG CHECKPOINT --out-dir mistakes

Predicts the tiles of the test set (or of --split val or train, without augmentation). Writes
confusion.png, the confusion matrix in percent of each true class; worst_tiles.png, the tiles with
the most errors next to their labels, which also reveals wrong labels; and tiles.csv, all tiles.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import config_parser, user_errors


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of this model')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='test')
    parser.add_argument(
        '--number', type=int, default=6, help='number of tiles to draw (default: 6)'
    )
    parser.add_argument('--out-dir', type=Path, default=Path('mistakes'), help='output folder')
    args = parser.parse_args()
    with user_errors():
        from rich.progress import track

        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.mapping.mistakes import save_mistakes

        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        mistakes = save_mistakes(
            config,
            args.checkpoint,
            args.out_dir,
            split=args.split,
            number=args.number,
            track=lambda indices: track(indices, description='tiles'),
        )
    labelled, wrong = (sum(getattr(o, key) for o in mistakes) for key in ('labelled', 'wrong'))
    print(f'{len(mistakes)} tiles: {100 * wrong / max(labelled, 1):.1f} % of the pixels are wrong')
    for name in ('confusion.png', 'worst_tiles.png', 'tiles.csv'):
        print(args.out_dir / name)

"""Score class maps against label scenes, per scene and over all scenes.

    dnas score dnas_mmseg::dnas/dnas_l14_gid5.py maps \\
        'Large-scale Classification_5classes/label_5classes' --label-suffix _label

Every labelled pixel counts once. Prints the scores and writes scores.json and confusion.png to the
folder of the maps. Maps without a label are skipped. Classes and colours are those of the config.
Labels have the values of the scenes that its tiles were cut from, or its label_values; without any,
they are colours, or as --label-convention or --label-values say.
"""

from __future__ import annotations

import argparse
import glob
import math
from pathlib import Path

from .command_line import ArgumentParser, UsageError, progress_bars, user_errors

TOTALS = ('mIoU', 'OA', 'FWIoU', 'kappa')


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config whose test set has the classes and colours')
    parser.add_argument('maps', type=Path, help='folder of <scene>.tif, from dnas predict')
    parser.add_argument('labels', type=Path, help='folder of <scene><suffix>.tif or .png')
    parser.add_argument('--label-suffix', default='', help="e.g. _label (GID-5's older release)")
    encoding = parser.add_mutually_exclusive_group()
    encoding.add_argument(
        '--label-convention', choices=['rgb', 'index', 'train_id'],
        help='encoding of the labels: colours, 1 to n with 0 for unlabelled, or 0 to n-1',
    )  # fmt: skip
    encoding.add_argument(
        '--label-values', nargs='+', metavar='VALUE=CLASS',
        help='class of each label value, as for dnas init; an empty class is unlabelled',
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from rich.console import Console
        from rich.table import Table

        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.mapping.scoring import OVERALL, get_label_encoding, score_maps
        from dnas_mmseg.preparation.interpretation import parse_label_values
        from dnas_mmseg.preparation.scenes import pair_scenes

        classes, labels = get_label_encoding(
            load_config(args.config),
            args.label_convention,
            parse_label_values(args.label_values) if args.label_values else None,
        )
        labelled = f'{glob.escape(str(args.labels.resolve()))}/{{name}}{args.label_suffix}.*'
        pairs, unlabelled = pair_scenes(args.maps, '*.tif', labelled)
        if not pairs:
            raise UsageError(f'none of the {len(unlabelled)} maps has a label {labelled}')
        with progress_bars() as track:
            results, notes = score_maps(pairs, classes, labels, args.maps, track('scoring'))
    table = Table(title='percent')
    for heading in ('scene', *TOTALS, *classes):
        table.add_column(heading, justify='left' if heading == 'scene' else 'right')
    for name, result in results.items():
        if name == OVERALL:
            table.add_section()
        values = [*(result[key] for key in TOTALS), *result['IoU']]
        table.add_row(name, *('–' if math.isnan(v) else f'{100 * v:.2f}' for v in values))
    console = Console()
    width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    Console(width=max(width, console.width)).print(table)  # names of classes are not cut
    if unlabelled:
        print(f'note: {len(unlabelled)} of {len(pairs) + len(unlabelled)} maps have no label')
    for note in notes:
        print(f'note: {note}')

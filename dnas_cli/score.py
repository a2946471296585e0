"""Score class maps against label scenes, per scene and over all scenes.

    dnas score dnas_mmseg::dnas/dnas_l14_gid5.py maps \\
        'Large-scale Classification_5classes/label_5classes' --label-suffix _label

Every labelled pixel counts once. Prints the scores and writes scores.json and confusion.png to the
folder of the maps. Maps without a label are skipped. Labels are colours, indices (1..n, 0 is
unlabelled) or train ids; classes and colours are those of the config.
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
    parser.add_argument(
        '--label-convention', choices=['rgb', 'index', 'train_id'], default='rgb',
        help='encoding of the labels (default: rgb)',
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from rich.console import Console
        from rich.table import Table

        from dnas_mmseg.datasets.labels import LabelEncoding
        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.mapping.scoring import OVERALL, score_maps
        from dnas_mmseg.mapping.segmentor import get_test_metainfo
        from dnas_mmseg.preparation.scenes import pair_scenes

        metainfo = get_test_metainfo(load_config(args.config))
        classes = metainfo.get('classes')
        if not classes:
            raise UsageError(
                f'{args.config} defines no classes: set '
                'test_dataloader.dataset.metainfo=dict(classes=..., palette=...)'
            )
        labels = LabelEncoding(
            args.label_convention, len(classes), tuple(map(tuple, metainfo['palette']))
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
    Console().print(table)
    if unlabelled:
        print(f'note: {len(unlabelled)} of {len(pairs) + len(unlabelled)} maps have no label')
    for note in notes:
        print(f'note: {note}')

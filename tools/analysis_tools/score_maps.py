"""Score maps of scenes against their labels: every labelled pixel once, per scene and over all.

    python tools/analysis_tools/score_maps.py configs/dnas/dnas_l14_gid5.py maps \\
        'Large-scale Classification_5classes/label_5classes' --label-suffix _label

Prints the tables and writes scores.json and confusion.png beside the maps. Labels may be colours,
indices (1 .. n, 0 unlabelled) or train ids; the classes and colours are the config's.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dnas_mmseg.apis.command_line import load_config, user_errors
from dnas_mmseg.apis.prediction import dataset_facts
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.datasets.tiling import find_scenes
from dnas_mmseg.evaluation import count_map, scores
from dnas_mmseg.files import write_text
from dnas_mmseg.visualization import save_confusion

TOTALS = ('mIoU', 'OA', 'FWIoU', 'kappa')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='its test set says the classes and colours')
    parser.add_argument('maps', type=Path, help='folder of <scene>.tif, as predict.py writes them')
    parser.add_argument('labels', type=Path, help='folder of <scene><suffix>.tif or .png')
    parser.add_argument('--label-suffix', default='', help="e.g. _label (GID-5's older release)")
    parser.add_argument(
        '--label-convention', choices=['rgb', 'index', 'train_id'], default='rgb',
        help='what the labels hold (default: rgb)',
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        facts = dataset_facts(load_config(args.config))
        classes, palette = facts['classes'], tuple(map(tuple, facts['palette']))
        labels = LabelEncoding(args.label_convention, len(classes), palette)
        pairs = find_scenes(args.maps, args.labels, args.label_suffix)
        counts = {
            pair.name: count_map(pair.image, pair.label, labels)
            for pair in track(pairs, description='scoring')
        }
        total = sum(count.matrix for count in counts.values())
        results = {name: scores(count.matrix) for name, count in counts.items()}
        results['all'] = scores(total)
        table = Table(title='percent')
        for heading in ('scene', *TOTALS, *classes):
            table.add_column(heading, justify='left' if heading == 'scene' else 'right')
        for name, result in results.items():
            if name == 'all':
                table.add_section()
            values = [*(result[key] for key in TOTALS), *result['IoU']]
            table.add_row(name, *('–' if math.isnan(v) else f'{100 * v:.2f}' for v in values))
        Console().print(table)
        unmapped = sum(count.unmapped for count in counts.values())
        if unmapped:
            print(f'{unmapped} labelled pixels have no class in the maps and are in no score')
        document = {
            name: {key: _plain(value) for key, value in result.items()}
            for name, result in results.items()
        }
        document['all'].update(confusion=total.tolist(), classes=list(classes), unmapped=unmapped)
        write_text(args.maps / 'scores.json', json.dumps(document, indent=2) + '\n')
        title = f'{len(counts)} scenes, mIoU {100 * results["all"]["mIoU"]:.1f} %'
        save_confusion(args.maps / 'confusion.png', total, classes, title)


def _plain(value):
    """JSON has no NaN and no arrays."""
    if isinstance(value, np.ndarray):
        return [_plain(float(item)) for item in value]
    return None if math.isnan(value) else round(value, 6)


if __name__ == '__main__':
    main()

"""Check every file of a data set; print class shares, and mean and std ready for a config.

    dnas check CONFIG
    dnas check CONFIG --split val --workers 4

Opens every image and label: missing and truncated files, bands, types, sizes, label values out of
range. Exits with 1 where something is wrong. `dnas browse` draws the tiles.
"""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING

from .command_line import config_parser, user_errors

if TYPE_CHECKING:
    from dnas_mmseg.datasets import MultiBandSegDataset


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: none besides)')
    args = parser.parse_args()
    with user_errors():
        from mmengine.registry import init_default_scope
        from mmseg.registry import DATASETS

        from dnas_mmseg.datasets import multi_band_parts
        from dnas_mmseg.engine.configs import leaf_datasets, load_config

        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        settings = config[f'{args.split}_dataloader'].dataset
        for leaf in leaf_datasets(settings):
            leaf['check_files'] = 0  # all of them are checked here, and reported together
        good = check(multi_band_parts(DATASETS.build(settings)), args.workers)
    sys.exit(0 if good else 1)


def check(parts: list[MultiBandSegDataset], workers: int) -> bool:
    """Print a summary of the parts of a data set; return whether it has no problems."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from dnas_mmseg.datasets import class_weights, inspect_pairs, summarise

    dataset, total = parts[0], sum(len(part.pairs) for part in parts)
    with Progress() as progress:
        task = progress.add_task('checking', total=total)

        def track(reports):
            for report in reports:
                progress.advance(task)
                yield report

        reports = chain.from_iterable(
            inspect_pairs(part.pairs, part.expected, statistics=True, workers=workers, track=track)
            for part in parts
        )
        summary = summarise(reports, dataset.labels)
    sizes = ', '.join(f'{h} x {w} ({n})' for (h, w), n in summary.sizes.items())
    print(f'{summary.files} pairs; sizes {sizes}; types {summary.dtypes}')
    shares = summary.class_pixels / max(summary.class_pixels.sum(), 1)
    print(
        f'invalid (nodata, masks, alpha, not finite): {100 * summary.invalid:.2f} % of the pixels'
    )
    title = f'of the valid pixels; unlabelled: {100 * summary.unlabelled:.2f} %'
    table = Table('class', 'share', 'weight', title=title)
    for row in zip(dataset.file_classes, shares, class_weights(shares), strict=True):
        table.add_row(row[0], f'{100 * row[1]:.2f} %', f'{row[2]:g}')
    Console().print(table)
    print(f'# paste into the config; bands: {", ".join(dataset.used_bands)}')
    print('model = dict(')
    if summary.mean is not None and summary.std is not None:
        print('    data_preprocessor=dict(')
        print(f'        mean={[round(float(value), 2) for value in summary.mean]},')
        print(f'        std={[round(float(value), 2) for value in summary.std]},')
        print('    ),')
    print('    # for rare classes, also what `dnas train --class-weights` sets:')
    print(f'    # decode_head=dict(loss_decode=dict(class_weight={class_weights(shares)})),')
    print(')')
    never = [n for n, share in zip(dataset.file_classes, shares, strict=True) if share == 0]
    if never:
        print(f'CHECK    no pixel is of class {", ".join(never)}')
    for note in summary.notes:
        print(f'NOTE     {note}')
    for doubt in summary.doubts:
        print(f'CHECK    {doubt}')
    for problem in summary.problems:
        print(f'PROBLEM  {problem}')
    print(f'{len(summary.problems)} problems')
    return not summary.problems

"""Check every file of a data set, and the config against the data.

    dnas check CONFIG
    dnas check CONFIG --split train --workers 4
    dnas check CONFIG --baseline
    dnas check CONFIG --report            # page with sample tiles, histograms and a map

Reads every image and label of all splits. Reports missing and truncated files, wrong bands, dtypes
and sizes, unknown label values, tiles in two splits (by content), splits that overlap on the
ground, splits without labels, and mismatches of model and data. Prints class shares and a config
snippet with the statistics of the data. Exits with code 1 if there is a problem. `dnas browse`
draws the tiles.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .command_line import (
    UsageError,
    add_no_network,
    config_parser,
    forbid_network_if,
    user_errors,
)

if TYPE_CHECKING:
    from dnas_mmseg.engine.dataset_report import DatasetReport, SplitReport

SPLITS = ('train', 'val', 'test')


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=SPLITS, help='split to check (default: all)')
    parser.add_argument(
        '--workers', type=int, default=0, help='worker processes (default: 0, in this process)'
    )
    parser.add_argument(
        '--baseline',
        action='store_true',
        help='also score gradient-boosted trees on single pixels and the majority class on the '
        'validation tiles: a network should beat both (seconds)',
    )
    parser.add_argument(
        '--report',
        nargs='?',
        type=Path,
        const=Path(),
        metavar='PATH',
        help='write an HTML page: sample tiles, histograms, class shares, suspicious tiles, a map '
        '(default: check.html in the work dir of the config)',
    )
    add_no_network(parser)
    args = parser.parse_args()
    with user_errors():
        if args.split and args.baseline:
            raise UsageError('--baseline needs the splits train and val: leave out --split')
        from rich.progress import Progress

        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.engine.dataset_page import save_dataset_page
        from dnas_mmseg.engine.dataset_report import check_dataset
        from dnas_mmseg.work_dir import CHECK_REPORT

        forbid_network_if(args)
        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        page = args.report
        if page == Path():
            page = Path(config.work_dir) / CHECK_REPORT
        if page is not None and page.is_dir():
            raise UsageError(f'--report {page} is a folder: expected the path of the page')
        splits = (args.split,) if args.split else SPLITS
        with Progress() as progress:
            report = check_dataset(
                config,
                splits,
                args.workers,
                lambda total: (
                    lambda reports: progress.track(reports, total=total, description='checking')
                ),
                details=page is not None,
            )
        for split in report.splits:
            show_split(split, paste=split is report.splits[0])
        for warning in report.warnings:
            print(f'CHECK    {warning}')
        for problem in report.problems:
            print(f'PROBLEM  {problem}')
        if page is not None:
            title = f'Data set of {Path(args.config).name}'
            print(f'report: {save_dataset_page(report, page, title)}')
        if args.baseline:
            show_baseline(report)
    sys.exit(0 if report.passed else 1)


def show_baseline(report: DatasetReport) -> None:
    """Print the scores of the baselines that see single pixels."""
    from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline

    parts = {split.name: split.parts for split in report.splits}
    tested = next((name for name in ('val', 'test') if name in parts), None)
    if 'train' not in parts or tested is None:
        raise UsageError(
            f'--baseline needs the splits train and val or test; the config has {", ".join(parts)}'
        )
    scores = evaluate_pixel_baseline(parts['train'], parts[tested]).scores
    print(f'\nbaselines without a network, mIoU on {tested}:')
    for name, score in scores.items():
        print(f'  {name} {score:.1f} %')


def show_split(split: SplitReport, paste: bool) -> None:
    """Print the findings on a split; with ``paste`` also the config snippet."""
    from rich.console import Console
    from rich.table import Table

    from dnas_mmseg.datasets import class_weights

    summary, shares = split.summary, split.class_shares
    print(f'\n{split.name}: {", ".join(part.origin for part in split.parts)}')
    sizes = ', '.join(f'{h} x {w} ({n})' for (h, w), n in summary.sizes.items())
    print(f'{summary.files} pairs; sizes {sizes}; types {summary.dtypes}')
    print(
        f'invalid (nodata, masks, alpha, non-finite): {100 * summary.invalid:.2f} % of all pixels'
    )
    title = f'classes of the valid pixels; unlabelled: {100 * summary.unlabelled:.2f} %'
    table = Table('class', 'share', 'weight', title=title)
    for row in zip(split.parts[0].file_classes, shares, class_weights(shares), strict=True):
        table.add_row(row[0], f'{100 * row[1]:.2f} %', f'{row[2]:g}')
    Console().print(table)
    if paste:
        print(split.config_text())
    for note in summary.notes:
        print(f'NOTE     {note}')
    for warning in split.warnings:
        print(f'CHECK    {warning}')
    for problem in split.problems:
        print(f'PROBLEM  {problem}')
    print(f'{len(split.problems)} problems')

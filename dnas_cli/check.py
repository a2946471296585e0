"""Check every file of a data set, and the config against it.

    dnas check CONFIG
    dnas check CONFIG --split train --workers 4

Opens every image and label of all splits: missing and truncated files, bands, types, sizes, label
values out of range, tiles in two splits (by content), splits that overlap on the ground, splits
without a label. Prints class shares, and what a config needs of the data, ready to paste; says
where the model does not fit the data. Exits with 1 where something is wrong. `dnas browse` draws
the tiles.
"""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

from .command_line import (
    add_no_network,
    config_parser,
    forbid_network_if,
    user_errors,
)

if TYPE_CHECKING:
    from mmengine.config import Config

    from dnas_mmseg.datasets import MultiBandSegDataset, TileRegister

SPLITS = ('train', 'val', 'test')


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=SPLITS, help='only this one (default: all)')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: none besides)')
    add_no_network(parser)
    args = parser.parse_args()
    with user_errors():
        from mmengine.registry import init_default_scope
        from mmseg.registry import DATASETS

        from dnas_mmseg.datasets import TileRegister, multi_band_parts
        from dnas_mmseg.engine.configs import leaf_datasets, load_config

        forbid_network_if(args)
        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        parts: dict[str, list[MultiBandSegDataset]] = {}
        register = TileRegister()
        good, means = True, None
        for split in [args.split] if args.split else SPLITS:
            settings = (config.get(f'{split}_dataloader') or {}).get('dataset')
            if settings is None:
                continue
            for leaf in leaf_datasets(settings):
                leaf['check_files'] = 0  # all of them are checked here, and reported together
            parts[split] = multi_band_parts(DATASETS.build(settings))
            print(f'\n{split}: {", ".join(str(part.ann_file) for part in parts[split])}')
            paste = split == (args.split or 'train')
            right, found = check(split, parts[split], args.workers, paste, register)
            good, means = good and right, means or found
        problems, warnings = model_findings(config, parts, means)
        for warning in [*register.warnings(), *warnings]:
            print(f'CHECK    {warning}')
        for problem in [*register.problems(), *problems]:
            print(f'PROBLEM  {problem}')
            good = False
    sys.exit(0 if good else 1)


def model_findings(
    config: Config, parts: dict[str, list[MultiBandSegDataset]], means: Any
) -> tuple[list[str], list[str]]:
    """Return what of a config's model does not fit its data: problems and warnings, a line each."""
    from mmseg.registry import MODELS

    from dnas_mmseg.cost.parts import input_bands
    from dnas_mmseg.datasets.checks import compare_statistics
    from dnas_mmseg.engine.data_checks import check_classes
    from dnas_mmseg.errors import UserError

    if 'model' not in config:
        return [], []
    try:
        model = MODELS.build(config.model)
        check_classes(model, {split: own[0] for split, own in parts.items()})
    except (UserError, TypeError, ValueError, KeyError, AssertionError) as error:
        return [f'the model: {error}'], []
    used = next(iter(parts.values()))[0].used_bands
    bands = input_bands(model.backbone)
    if used and bands != len(used):
        return [f'the network takes {bands} bands, the data have {", ".join(used)}'], []
    mean = getattr(model.data_preprocessor, 'mean', None)
    std = getattr(model.data_preprocessor, 'std', None)
    if means is None or mean is None or std is None or mean.numel() != len(means[0]):
        return [], []
    finding, serious = compare_statistics(mean.flatten().numpy(), std.flatten().numpy(), *means)
    lines = [finding] if finding else []
    return (lines, []) if serious else ([], lines)


def check(
    split: str,
    parts: list[MultiBandSegDataset],
    workers: int,
    paste: bool,
    register: TileRegister,
) -> tuple[bool, tuple[Any, Any] | None]:
    """Print a summary of the parts of a data set.

    Args:
        split: Name of the split.
        parts: The parts.
        workers: Number of processes.
        paste: Whether to print what may be pasted into a config.
        register: Register that gets the tiles.

    Returns:
        Whether there are no problems; and mean and std of the bands, where they are known.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from dnas_mmseg.datasets import class_weights, inspect_pairs, summarise
    from dnas_mmseg.datasets.checks import round_significant

    dataset, total = parts[0], sum(len(part.pairs) for part in parts)
    with Progress() as progress:
        task = progress.add_task('checking', total=total)

        def track(reports):
            for report in reports:
                progress.advance(task)
                register.add(split, report)
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
    if paste:
        print(f'# paste into the config; bands: {", ".join(dataset.used_bands)}')
        print('model = dict(')
        if summary.mean is not None and summary.std is not None:
            print('    data_preprocessor=dict(')
            print(f'        mean={[round_significant(value, 5) for value in summary.mean]},')
            print(f'        std={[round_significant(value, 5) for value in summary.std]},')
            print('    ),')
            print(f'    backbone=dict(in_channels={len(summary.mean)}),')
        print(f'    decode_head=dict(num_classes={len(dataset.metainfo["classes"])}),')
        print('    # for rare classes, also what `dnas train --class-weights` sets:')
        print(f'    # decode_head=dict(loss_decode=dict(class_weight={class_weights(shares)})),')
        print(')')
    never = [n for n, share in zip(dataset.file_classes, shares, strict=True) if share == 0]
    if never:
        print(f'CHECK    no pixel is of class {", ".join(never)}')
    for note in summary.notes:
        print(f'NOTE     {note}')
    for warning in summary.warnings:
        print(f'CHECK    {warning}')
    problems = list(summary.problems)
    labelled = any(label for part in parts for _, label in part.pairs)
    if not problems and labelled and not summary.class_pixels.sum():
        problems.append(f'no pixel of {split} is labelled, so there is nothing to score or learn')
    for problem in problems:
        print(f'PROBLEM  {problem}')
    print(f'{len(problems)} problems')
    known = summary.mean is not None and summary.std is not None
    return not problems, (summary.mean, summary.std) if known else None

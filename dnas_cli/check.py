"""Check every file of a data set, and the config against it.

    dnas check CONFIG
    dnas check CONFIG --split train --workers 4

Opens every image and label of all splits: missing and truncated files, bands, types, sizes, label
values out of range, tiles in two splits. Prints class shares, and mean and std ready for a config;
says where the model does not fit the data. Exits with 1 where something is wrong. `dnas browse`
draws the tiles.
"""

from __future__ import annotations

import sys
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

from .command_line import config_parser, user_errors

if TYPE_CHECKING:
    from mmengine.config import Config

    from dnas_mmseg.datasets import MultiBandSegDataset

SPLITS = ('train', 'val', 'test')


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--split', choices=SPLITS, help='only this one (default: all)')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: none besides)')
    args = parser.parse_args()
    with user_errors():
        from mmengine.registry import init_default_scope
        from mmseg.registry import DATASETS

        from dnas_mmseg.datasets import multi_band_parts
        from dnas_mmseg.engine.configs import leaf_datasets, load_config

        config = load_config(args.config, data_root=args.data_root, options=args.cfg_options)
        init_default_scope(config.get('default_scope', 'mmseg'))
        parts: dict[str, list[MultiBandSegDataset]] = {}
        good, means = True, None
        for split in [args.split] if args.split else SPLITS:
            settings = (config.get(f'{split}_dataloader') or {}).get('dataset')
            if settings is None:
                continue
            for leaf in leaf_datasets(settings):
                leaf['check_files'] = 0  # all of them are checked here, and reported together
            parts[split] = multi_band_parts(DATASETS.build(settings))
            print(f'\n{split}: {", ".join(str(part.ann_file) for part in parts[split])}')
            right, found = check(parts[split], args.workers, paste=split == (args.split or 'train'))
            good, means = good and right, means or found
        for problem in [*shared_tiles(parts), *model_problems(config, parts, means)]:
            print(f'PROBLEM  {problem}')
            good = False
    sys.exit(0 if good else 1)


def shared_tiles(parts: dict[str, list[MultiBandSegDataset]]) -> list[str]:
    """Return a line for every two splits that share tiles: the scores would be too high."""
    images = {
        split: {image for part in own for image, _ in part.pairs} for split, own in parts.items()
    }
    return [
        f'{len(both)} tiles are in {one} and in {other}, {min(both)} for instance'
        for one, other in combinations(images, 2)
        if (both := images[one] & images[other])
    ]


def model_problems(
    config: Config, parts: dict[str, list[MultiBandSegDataset]], means: Any
) -> list[str]:
    """Return what of a config's model does not fit its data, a line each."""
    from mmseg.registry import MODELS

    from dnas_mmseg.cost.parts import input_bands
    from dnas_mmseg.engine.config_checks import check_classes
    from dnas_mmseg.errors import UserError

    if 'model' not in config:
        return []
    try:
        model = MODELS.build(config.model)
        check_classes(model, {split: own[0] for split, own in parts.items()})
    except (UserError, TypeError, ValueError, KeyError, AssertionError) as error:
        return [f'the model: {error}']
    used = next(iter(parts.values()))[0].used_bands
    problems = []
    bands = input_bands(model.backbone)
    if used and bands != len(used):
        problems.append(f'the network takes {bands} bands, the data have {", ".join(used)}')
    mean = getattr(model.data_preprocessor, 'mean', None)
    std = getattr(model.data_preprocessor, 'std', None)
    if means is None or mean is None or std is None:
        return problems
    if mean.numel() == len(means[0]):
        off = (mean.flatten().numpy() - means[0]) / std.flatten().numpy()
        if abs(off).max() > 0.5:
            print(
                'CHECK    the config normalises by other statistics than those above: up to '
                f'{abs(off).max():.1f} standard deviations off'
            )
    return problems


def check(
    parts: list[MultiBandSegDataset], workers: int, paste: bool
) -> tuple[bool, tuple[Any, Any] | None]:
    """Print a summary of the parts of a data set.

    Args:
        parts: The parts.
        workers: Number of processes.
        paste: Whether to print what may be pasted into a config.

    Returns:
        Whether there are no problems; and mean and std of the bands, where they are known.
    """
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
    if paste:
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
    known = summary.mean is not None and summary.std is not None
    return not summary.problems, (summary.mean, summary.std) if known else None

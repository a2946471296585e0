"""Check of all files of a config's data, and of its model against them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.datasets import (
    InspectableDataset,
    TileRegister,
    class_weights,
    multi_band_parts,
    summarise,
)
from dnas_mmseg.datasets.checks import (
    DatasetSummary,
    PairReport,
    compare_statistics,
    round_significant,
)
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import count_input_bands

from .config_validation import validate_config
from .data_checks import check_classes

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class SplitReport:
    """Findings in a split.

    Attributes:
        name: Name of the split.
        parts: Data sets of the split, without wrappers.
        summary: Summary of their files.
        warnings: Possible errors, one sentence each.
        problems: Errors, one sentence each.
    """

    name: str
    parts: list[InspectableDataset]
    summary: DatasetSummary
    warnings: list[str]
    problems: list[str]

    @property
    def class_shares(self) -> np.ndarray:
        """Share of each class in the labelled pixels, (classes,)."""
        return self.summary.class_pixels / max(self.summary.class_pixels.sum(), 1)

    def config_text(self) -> str:
        """Return a config snippet with the statistics, bands and classes of the data."""
        dataset, summary, lines = self.parts[0], self.summary, []
        if summary.mean is not None and summary.std is not None:
            lines = [
                '    data_preprocessor=dict(',
                f'        mean={[round_significant(value, 5) for value in summary.mean]},',
                f'        std={[round_significant(value, 5) for value in summary.std]},',
                '    ),',
                f'    backbone=dict(in_channels={len(summary.mean)}),',
            ]
        weights = class_weights(self.class_shares)
        return '\n'.join(
            [
                f'# paste into the config; bands: {", ".join(dataset.used_bands)}',
                'model = dict(',
                *lines,
                f'    decode_head=dict(num_classes={len(dataset.metainfo["classes"])}),',
                '    # for rare classes, as set by `dnas train --class-weights`:',
                f'    # decode_head=dict(loss_decode=dict(class_weight={weights})),',
                ')',
            ]
        )


@dataclass
class DatasetReport:
    """Findings in the data of a config.

    Attributes:
        splits: Findings in each split.
        warnings: Possible errors between splits or in the model, one sentence each.
        problems: Errors between splits or in the model, one sentence each.
    """

    splits: list[SplitReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems and not any(split.problems for split in self.splits)


def check_dataset(
    config: Config,
    splits: Sequence[str] = SPLITS,
    workers: int = 0,
    track: Callable[[int], Callable[[Iterable], Iterable]] = lambda total: iter,
) -> DatasetReport:
    """Check all files of a config's splits, and its model against them.

    Args:
        config: Config of a training run.
        splits: Names of the splits; splits that the config lacks are skipped.
        workers: Number of worker processes; 0 checks in this process.
        track: Function from the number of files to a function that wraps the iterable of their
            reports to show progress.

    Raises:
        DatasetError: A split list is missing or damaged.
        UserError: The config has an unknown class or argument.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    report, register = DatasetReport(), TileRegister()
    for name in splits:
        settings = (config.get(f'{name}_dataloader') or {}).get('dataset')
        if settings is None:
            continue
        validate_config(config, f'{name}_dataloader')
        for leaf in leaf_datasets(settings):
            leaf['check_files'] = 0  # all files are checked below, and reported together
        parts = multi_band_parts(DATASETS.build(settings))
        report.splits.append(_check_split(name, parts, workers, register, track))
    report.warnings += register.warnings()
    report.problems += register.problems()
    _check_model(config, report)
    return report


def _check_split(
    name: str,
    parts: list[InspectableDataset],
    workers: int,
    register: TileRegister,
    track: Callable[[int], Callable[[Iterable], Iterable]],
) -> SplitReport:
    labelled = False

    def registered(reports: Iterable[PairReport]) -> Iterator[PairReport]:
        nonlocal labelled
        for pair in reports:
            labelled |= pair.class_pixels is not None
            register.add(name, pair)
            yield pair

    wrap = track(sum(len(part) for part in parts))
    reports = chain.from_iterable(
        part.inspect(statistics=True, workers=workers, track=lambda found: wrap(registered(found)))
        for part in parts
    )
    summary = summarise(reports, parts[0].labels)
    classes = zip(parts[0].file_classes, summary.class_pixels, strict=True)
    absent = [label for label, pixels in classes if not pixels]
    warnings = [f'no pixel has class {", ".join(absent)}'] if absent else []
    problems = list(summary.problems)
    if not problems and labelled and not summary.class_pixels.sum():
        problems.append(
            f'{name} has no labelled pixel, so it cannot be used for training or scores'
        )
    return SplitReport(name, parts, summary, [*warnings, *summary.warnings], problems)


def _check_model(config: Config, report: DatasetReport) -> None:
    """Add the findings in the config's model: classes, bands and normalisation."""
    if 'model' not in config or not report.splits:
        return
    try:
        model = MODELS.build(config.model)
        check_classes(model, {split.name: split.parts[0] for split in report.splits})
    except (UserError, TypeError, ValueError, KeyError, AssertionError) as error:
        report.problems.append(f'the model: {error}')
        return
    used = report.splits[0].parts[0].used_bands
    bands = count_input_bands(model.backbone)
    if used and bands != len(used):
        report.problems.append(
            f'the network expects {bands} bands, the data have {", ".join(used)}'
        )
        return
    mean = getattr(model.data_preprocessor, 'mean', None)
    std = getattr(model.data_preprocessor, 'std', None)
    for split in report.splits:
        found = split.summary.mean, split.summary.std
        if found[0] is None or found[1] is None:
            continue
        if mean is not None and std is not None and mean.numel() == len(found[0]):
            numbers = mean.flatten().numpy(), std.flatten().numpy()
            finding, serious = compare_statistics(*numbers, found[0], found[1])
            if finding:
                (report.problems if serious else report.warnings).append(finding)
        return

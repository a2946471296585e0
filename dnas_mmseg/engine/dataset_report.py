"""Report on the data of a config: every file of its splits, and the config's model against them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.datasets import (
    MultiBandSegDataset,
    TileRegister,
    class_weights,
    inspect_pairs,
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
    """Findings on a split.

    Attributes:
        name: Name of the split.
        parts: Data sets of the split, below all wrappers.
        summary: Summary of their files.
        warnings: Findings that may be errors or intended, one sentence each.
        problems: Errors, one sentence each.
    """

    name: str
    parts: list[MultiBandSegDataset]
    summary: DatasetSummary
    warnings: list[str]
    problems: list[str]

    @property
    def class_shares(self) -> np.ndarray:
        """Share of each class of the files among the labelled pixels, (classes,)."""
        return self.summary.class_pixels / max(self.summary.class_pixels.sum(), 1)

    def config_text(self) -> str:
        """Return the part of a config that depends on the data: statistics, bands and classes."""
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
                '    # for rare classes, also what `dnas train --class-weights` sets:',
                f'    # decode_head=dict(loss_decode=dict(class_weight={weights})),',
                ')',
            ]
        )


@dataclass
class DatasetReport:
    """Findings on the data of a config.

    Attributes:
        splits: Findings on the splits.
        warnings: Findings between splits or on the model that may be intended, one sentence each.
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
    """Check every file of a config's splits, and the config's model against them.

    Args:
        config: Config of a training.
        splits: Names of the splits; those that the config lacks are passed over.
        workers: Number of processes; 0 for none in addition.
        track: Function from a number of files to a function that wraps their reports, to show
            progress.

    Raises:
        DatasetError: A list is missing or damaged.
        UserError: The config names a class or an argument that does not exist.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    report, register = DatasetReport(), TileRegister()
    for name in splits:
        settings = (config.get(f'{name}_dataloader') or {}).get('dataset')
        if settings is None:
            continue
        validate_config(config, f'{name}_dataloader')
        for leaf in leaf_datasets(settings):
            leaf['check_files'] = 0  # all of them are checked here, and reported together
        parts = multi_band_parts(DATASETS.build(settings))
        report.splits.append(_check_split(name, parts, workers, register, track))
    report.warnings += register.warnings()
    report.problems += register.problems()
    _check_model(config, report)
    return report


def _check_split(
    name: str,
    parts: list[MultiBandSegDataset],
    workers: int,
    register: TileRegister,
    track: Callable[[int], Callable[[Iterable], Iterable]],
) -> SplitReport:
    def registered(reports: Iterable[PairReport]) -> Iterator[PairReport]:
        for pair in reports:
            register.add(name, pair)
            yield pair

    wrap = track(sum(len(part.pairs) for part in parts))
    reports = chain.from_iterable(
        inspect_pairs(
            part.pairs,
            part.expected,
            statistics=True,
            workers=workers,
            track=lambda found: wrap(registered(found)),
        )
        for part in parts
    )
    summary = summarise(reports, parts[0].labels)
    classes = zip(parts[0].file_classes, summary.class_pixels, strict=True)
    never = [label for label, pixels in classes if not pixels]
    warnings = [f'no pixel is of class {", ".join(never)}'] if never else []
    problems = list(summary.problems)
    labelled = any(label for part in parts for _, label in part.pairs)
    if not problems and labelled and not summary.class_pixels.sum():
        problems.append(f'no pixel of {name} is labelled, so there is nothing to score or learn')
    return SplitReport(name, parts, summary, [*warnings, *summary.warnings], problems)


def _check_model(config: Config, report: DatasetReport) -> None:
    """Add the findings on the config's model: classes, bands and normalisation."""
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
        report.problems.append(f'the network takes {bands} bands, the data have {", ".join(used)}')
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

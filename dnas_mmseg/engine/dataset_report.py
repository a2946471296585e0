"""Check of all files of a config's data, and of its model against them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.datasets import (
    InspectableDataset,
    MultiBandSegDataset,
    TileRegister,
    multi_band_parts,
    summarise,
)
from dnas_mmseg.datasets.checks import (
    DatasetSummary,
    Expectation,
    PairReport,
    compare_statistics,
    round_significant,
)
from dnas_mmseg.datasets.configs import SPLITS, leaf_datasets
from dnas_mmseg.datasets.deviation import describe_fill, describe_shift
from dnas_mmseg.datasets.histograms import HistogramBins
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import count_input_bands

from .config_validation import validate_config
from .data_checks import check_classes

_SHOWN = 5
"""Deviating images listed per split."""


@dataclass(frozen=True)
class TileRecord:
    """Facts on a readable tile, for choosing which tiles to show.

    Attributes:
        split: Name of the split.
        image, label: Paths; the label is None without one.
        expected: Expectation on the tile, with bands and label encoding.
        invalid: Share of invalid pixels.
        pixels: Number of valid pixels.
        class_pixels: Labelled pixels per class, (classes,); None without a readable label.
        similarity: Perceptual hash of the image; None if it is mostly constant.
        crs: CRS of the corners as WKT; empty if none.
        corners: Corners of the image in the CRS as (x, y), in order along the outline.
    """

    split: str
    image: str
    label: str | None
    expected: Expectation
    invalid: float
    pixels: int
    class_pixels: np.ndarray | None
    similarity: int | None
    crs: str
    corners: tuple[tuple[float, float], ...]

    @classmethod
    def from_report(
        cls, split: str, expected: Expectation, report: PairReport
    ) -> TileRecord | None:
        """Return the record of a tile; None if its image is unreadable."""
        if not report.digest or report.shape is None:
            return None
        height, width = report.shape
        crs = ''
        corners: tuple[tuple[float, float], ...] = ()
        georeference = report.georeference
        if georeference.transform is not None and georeference.crs:
            crs = sys.intern(georeference.crs)  # equal in thousands of tiles
            x, dx, across, y, down, dy = georeference.transform
            corners = tuple(
                (x + c * dx + r * across, y + c * down + r * dy)
                for c, r in ((0, 0), (width, 0), (width, height), (0, height))
            )
        return cls(
            split=split,
            image=report.image,
            label=report.label,
            expected=expected,
            invalid=report.invalid / (height * width),
            pixels=report.pixels,
            class_pixels=report.class_pixels,
            similarity=report.similarity,
            crs=crs,
            corners=corners,
        )


@dataclass(frozen=True)
class SplitReport:
    """Findings in a split.

    Attributes:
        name: Name of the split.
        parts: Data sets of the split, without wrappers.
        summary: Summary of their files.
        warnings: Possible errors, one sentence each.
        problems: Errors, one sentence each.
        tiles: Readable tiles, if requested.
        histogram: Valid samples per band and bin, int64 (bands, bins), if requested.
    """

    name: str
    parts: list[InspectableDataset]
    summary: DatasetSummary
    warnings: list[str]
    problems: list[str]
    tiles: list[TileRecord] = field(default_factory=list)
    histogram: np.ndarray | None = None

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
        return '\n'.join(
            [
                f'# paste into the config; bands: {", ".join(dataset.used_bands)}',
                'model = dict(',
                *lines,
                f'    decode_head=dict(num_classes={len(dataset.metainfo["classes"])}),',
                ')',
                '# weights for rare classes: dnas train --class-weights',
            ]
        )


@dataclass
class DatasetReport:
    """Findings in the data of a config.

    Attributes:
        splits: Findings in each split.
        warnings: Possible errors between splits or in the model, one sentence each.
        problems: Errors between splits or in the model, one sentence each.
        bins: Bins of the histograms, if requested.
    """

    splits: list[SplitReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bins: HistogramBins | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems and not any(split.problems for split in self.splits)


def check_dataset(
    config: Config,
    splits: Sequence[str] = SPLITS,
    workers: int = 0,
    track: Callable[[int], Callable[[Iterable], Iterable]] = lambda total: iter,
    details: bool = False,
) -> DatasetReport:
    """Check all files of a config's splits, and its model against them.

    Args:
        config: Config of a training run.
        splits: Names of the splits; splits that the config lacks are skipped.
        workers: Number of worker processes; 0 checks in this process.
        track: Function from the number of files to a function that wraps the iterable of their
            reports to show progress.
        details: Whether to collect a record per tile and histograms, in the same pass over the
            files, for :func:`dnas_mmseg.engine.dataset_page.save_dataset_page`.

    Raises:
        DatasetError: A split list is missing or damaged.
        UserError: The config has an unknown class or argument.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    report, register = DatasetReport(), TileRegister()
    parts: dict[str, list[InspectableDataset]] = {}
    for name in splits:
        settings = (config.get(f'{name}_dataloader') or {}).get('dataset')
        if settings is None:
            continue
        validate_config(config, f'{name}_dataloader')
        for leaf in leaf_datasets(settings):
            leaf['check_files'] = 0  # all files are checked below, and reported together
        parts[name] = multi_band_parts(DATASETS.build(settings))
    if details:
        files = []
        for part in chain.from_iterable(parts.values()):
            if not isinstance(part, MultiBandSegDataset):
                raise UserError(
                    f'{type(part).__name__}: a page of tiles requires image files; it shows data '
                    'sets of type MultiBandSegDataset'
                )
            files += [(image, part.expected) for image, _ in part.pairs]
        report.bins = HistogramBins.for_files(files)
    for name in parts:
        split = _check_split(name, parts[name], workers, register, track, details, report.bins)
        report.splits.append(split)
    _compare_images(report)
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
    details: bool,
    bins: HistogramBins | None,
) -> SplitReport:
    tiles: list[TileRecord] = []
    histograms: list[np.ndarray] = []
    labelled = False

    def registered(part: InspectableDataset, reports: Iterable[PairReport]) -> Iterator[PairReport]:
        nonlocal labelled
        for pair in reports:
            labelled |= pair.class_pixels is not None
            register.add(name, pair)
            if isinstance(part, MultiBandSegDataset) and details:
                tile = TileRecord.from_report(name, part.expected, pair)
                if tile is not None:
                    tiles.append(tile)
            if pair.histogram is not None:
                histograms[:] = [sum(histograms, pair.histogram)]
            yield pair

    wrap = track(sum(len(part) for part in parts))

    def inspected(part: InspectableDataset) -> Iterator[PairReport]:
        settings: dict[str, Any] = dict(
            statistics=True, workers=workers, track=lambda found: wrap(registered(part, found))
        )
        if bins is not None:
            settings['bins'] = bins
        return part.inspect(**settings)

    reports = chain.from_iterable(map(inspected, parts))
    summary = summarise(reports, parts[0].labels)
    classes = zip(parts[0].file_classes, summary.class_pixels, strict=True)
    absent = [label for label, pixels in classes if not pixels]
    warnings = [f'no pixel has class {", ".join(absent)}'] if absent else []
    problems = list(summary.problems)
    if not problems and labelled and not summary.class_pixels.sum():
        problems.append(
            f'{name} has no labelled pixel, so it cannot be used for training or scores'
        )
    return SplitReport(
        name,
        parts,
        summary,
        [*warnings, *summary.warnings],
        problems,
        tiles,
        histograms[0] if histograms else None,
    )


def _compare_images(report: DatasetReport) -> None:
    """Add warnings of images that deviate from the training tiles."""
    training = next((split.summary for split in report.splits if split.name == 'train'), None)
    if training is None or training.mean is None or training.std is None:
        return
    for split in report.splits:
        found = []
        for image in split.summary.images:
            text = ''
            if len(image.means) != len(training.mean):
                continue  # reported as a problem
            if image.fill is not None:
                remedy = 'set nodata of the data set'
                text = describe_fill(image.path, image.fill, training.mean, training.std, remedy)
            bands = split.parts[0].used_bands
            text = text or describe_shift(
                image.path, image.means, training.mean, training.std, bands
            )
            if text:
                found.append(text)
        split.warnings.extend(found[:_SHOWN])
        if len(found) > _SHOWN:
            split.warnings.append(f'{len(found) - _SHOWN} more images deviate in this way')


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
        if mean is not None and std is not None and mean.numel() != len(found[0]):
            report.problems.append(
                f'mean and std of data_preprocessor have {mean.numel()} values for '
                f'{len(found[0])} bands'
            )
            return
        if mean is not None and std is not None:
            numbers = mean.flatten().numpy(), std.flatten().numpy()
            finding, serious = compare_statistics(*numbers, found[0], found[1])
            if finding:
                (report.problems if serious else report.warnings).append(finding)
        return

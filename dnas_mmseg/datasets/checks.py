"""Checking pairs of an image and its label, and summing up what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dnas_mmseg.raster import Raster, RasterError, RasterInfo, nodata_mask

from .labels import IGNORE, LabelEncoding, LabelError


@dataclass(frozen=True)
class Expectation:
    """What every pair of a data set must be.

    Attributes:
        bands: Band names in file order; empty where nothing is known.
        dtype: numpy name of the images' samples; None: what the first image has.
        labels: How labels are encoded.
    """

    bands: tuple[str, ...]
    dtype: str | None
    labels: LabelEncoding


@dataclass
class PairReport:
    """One pair, looked at.

    Attributes:
        problems: What is wrong, a sentence each.
        shape, bands, dtype: Of the image.
        values: Label values as stored; empty for coloured labels.
        class_pixels: Labelled pixels of each class, shape (num_classes,).
        pixels: Valid pixels of the image.
        totals, squares: Sum and sum of squares of each band over them, float64 (bands,).
    """

    problems: list[str] = field(default_factory=list)
    shape: tuple[int, int] | None = None
    bands: int | None = None
    dtype: str | None = None
    values: set[int] = field(default_factory=set)
    class_pixels: np.ndarray | None = None
    pixels: int = 0
    totals: np.ndarray | None = None
    squares: np.ndarray | None = None


def band_sums(
    samples: np.ndarray, nodata: tuple[float | None, ...]
) -> tuple[int, np.ndarray, np.ndarray]:
    """Valid pixels of an image, and each band's sum and sum of squares over them, float64."""
    missing = nodata_mask(samples, nodata)
    values = samples.reshape(len(samples), -1) if missing is None else samples[:, ~missing]
    values = values.astype(np.float64)
    return values.shape[1], values.sum(1), (values**2).sum(1)


def inspect_pair(
    pair: tuple[str, str | None], expected: Expectation, statistics: bool = False
) -> PairReport:
    """Look at an image and its label; never raises for what is in the files.

    Args:
        pair: Paths of image and label; the label may be None.
        expected: What they must be.
        statistics: Also read the image's samples and sum them up.
    """
    image_path, label_path = pair
    report = PairReport()
    try:
        with Raster(image_path) as raster:
            info = raster.info
            report.shape, report.bands, report.dtype = info.shape, info.bands, info.dtype
            report.problems += check_bands(info, expected.bands)
            if expected.dtype and info.dtype != expected.dtype:
                report.problems.append(
                    f'{image_path}: samples are {info.dtype}, expected {expected.dtype}'
                )
            if statistics:
                sums = band_sums(raster.read(), info.nodata)
                report.pixels, report.totals, report.squares = sums
        if label_path is not None:
            with Raster(label_path) as raster:
                samples = raster.read()
            if samples.shape[1:] != report.shape:
                report.problems.append(
                    f'{label_path}: label of {_size(samples.shape[1:])} for an image of '
                    f'{_size(report.shape)}'
                )
            if samples.shape[0] == 1 and samples.dtype.kind in 'ui':
                report.values = {int(value) for value in np.unique(samples)}
            report.class_pixels = np.zeros(expected.labels.num_classes, np.int64)
            ids = expected.labels.encode(samples)
            report.class_pixels += np.bincount(ids.ravel(), minlength=IGNORE + 1)[
                : expected.labels.num_classes
            ]
    except RasterError as error:
        report.problems.append(str(error))
    except LabelError as error:
        report.problems.append(f'{label_path}: {error}')
    return report


def inspect_pairs(
    pairs: Sequence[tuple[str, str | None]],
    expected: Expectation,
    *,
    statistics: bool = False,
    workers: int = 0,
    track: Callable[[Iterable], Iterable] = iter,
) -> Iterator[PairReport]:
    """:func:`inspect_pair` for each, in order.

    Args:
        workers: Processes to use besides this one; 0 for none.
        track: Wraps the reports as they come, to show progress.
    """
    look = partial(inspect_pair, expected=expected, statistics=statistics)
    if workers == 0:
        yield from track(map(look, pairs))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from track(pool.map(look, pairs, chunksize=8))


@dataclass
class DatasetSummary:
    """All pairs of a data set, summed up.

    Attributes:
        files: Number of pairs.
        problems: Every problem, the labels' convention included.
        doubts: What may be meant so, or be a mistake.
        sizes: Pairs by (height, width).
        bands: Pairs by number of bands.
        dtypes: Pairs by sample type.
        class_pixels: Labelled pixels of each class.
        unlabelled: Share of pixels without a class.
        mean, std: Of each band; None without statistics.
    """

    files: int = 0
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    bands: dict[int, int] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    class_pixels: np.ndarray | None = None
    unlabelled: float = 0.0
    mean: np.ndarray | None = None
    std: np.ndarray | None = None


def summarise(reports: Iterable[PairReport], labels: LabelEncoding) -> DatasetSummary:
    """Sum up the reports of a data set's pairs."""
    summary = DatasetSummary(class_pixels=np.zeros(labels.num_classes, np.int64))
    values: set[int] = set()
    pixels, totals, squares, area = 0, 0.0, 0.0, 0
    for report in reports:
        summary.files += 1
        summary.problems += report.problems
        values |= report.values
        if report.shape:
            for counts, key in (
                (summary.sizes, report.shape),
                (summary.bands, report.bands),
                (summary.dtypes, report.dtype),
            ):
                counts[key] = counts.get(key, 0) + 1
            area += report.shape[0] * report.shape[1]
        if report.class_pixels is not None:
            summary.class_pixels += report.class_pixels
        if report.totals is not None and report.bands == next(iter(summary.bands)):
            pixels += report.pixels
            totals, squares = totals + report.totals, squares + report.squares
    other = labels.looks_like(values)
    if other:
        summary.problems.append(
            f"the labels hold {_ranges(values)}: this looks like label_convention='{other}', not "
            f"'{labels.convention}'"
        )
    other = labels.may_be(values)
    if other:
        summary.doubts.append(
            f'the labels hold {_ranges(values)}: no pixel is of the last class. If 0 is a class '
            f"and not 'unlabelled', this is label_convention='{other}'"
        )
    differing = (
        ('numbers of bands', summary.bands),
        ('types', summary.dtypes),
        ('sizes', summary.sizes),
    )
    for kind, counts in differing:
        if len(counts) > 1:
            listed = ', '.join(
                f'{_size(key) if isinstance(key, tuple) else key} ({count})'
                for key, count in counts.items()
            )
            summary.problems.append(f'images of different {kind}: {listed}')
    if area:
        summary.unlabelled = 1 - float(summary.class_pixels.sum()) / area
    if pixels:
        summary.mean = totals / pixels
        summary.std = np.sqrt(np.maximum(squares / pixels - summary.mean**2, 0))
    return summary


def check_bands(info: RasterInfo, bands: tuple[str, ...]) -> list[str]:
    """What is wrong with an image's bands, a sentence each.

    Args:
        info: The image.
        bands: What they should be, in file order; empty where nothing is known.
    """
    if not bands:
        return []
    if info.bands != len(bands):
        return [
            f'{info.path}: {info.bands} bands, expected {len(bands)} ({", ".join(bands)}). '
            'List all bands of the file, in its order, in metainfo `bands`, and choose among them '
            'by SelectBands in the pipeline.'
        ]
    if info.names and info.names != bands and set(info.names) == set(bands):
        return [
            f'{info.path}: its band descriptions say the order is {", ".join(info.names)}, the '
            f'data set says {", ".join(bands)}'
        ]
    return []


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[0]} x {shape[1]}'


def _ranges(values: set[int]) -> str:
    """``{0, 1, 2, 3, 255}`` as ``0-3, 255``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ', '.join(str(a) if a == b else f'{a}-{b}' for a, b in runs)

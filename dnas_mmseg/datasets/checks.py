"""Checks of image and label pairs, and summary of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dnas_mmseg.bands import choose_bands
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import GeoReference, Raster, RasterError, RasterInfo, Samples, valid_pixels

from .deviation import find_fill
from .labels import IGNORE, LabelEncoding, LabelError, label_samples
from .near_duplicates import difference_hash

if TYPE_CHECKING:
    from .histograms import HistogramBins


@dataclass(frozen=True)
class Expectation:
    """Requirements on every pair of a data set.

    Attributes:
        bands: Band names in file order; empty if unknown.
        dtype: Name of the images' numpy type; None accepts any type shared by all images.
        labels: Label encoding.
        used: Names of the bands that the pipeline selects; empty for all. Validity, type and
            statistics refer to these bands.
        nodata: Nodata value, in addition to the declared ones.
    """

    bands: tuple[str, ...]
    dtype: str | None
    labels: LabelEncoding
    used: tuple[str, ...] = ()
    nodata: float | None = None


@dataclass
class PairReport:
    """Findings on one pair.

    Attributes:
        problems: Errors in the files, one sentence each.
        warnings: Findings that may be errors or intended, one sentence each.
        notes: Assumptions made, one sentence each.
        shape, dtype: Height and width of the image, and its numpy type.
        bands: Number of used bands.
        invalid: Number of invalid pixels of the image.
        values: Stored label values; empty for coloured labels.
        class_pixels: Labelled pixels per class, (num_classes,).
        pixels: Number of valid pixels of the image.
        totals, squares: Sum and sum of squares per band over the valid pixels, float64 (bands,).
        fill: Extreme value that all used bands have in many pixels, with their share
            (:func:`dnas_mmseg.datasets.deviation.find_fill`); None if there is none.
        scaling: Declared scale and offset of the used bands.
        digest: Hash of the samples of the used bands, if they were read.
        image, label: Paths of the image and its label, if it has one.
        georeference: Georeference of the image.
        histogram: Valid samples per band and bin, int64 (bands, bins), if requested.
        similarity: Perceptual hash of the image, if requested; None for mostly constant images.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shape: tuple[int, int] | None = None
    bands: int | None = None
    dtype: str | None = None
    invalid: int = 0
    values: set[int] = field(default_factory=set)
    class_pixels: np.ndarray | None = None
    pixels: int = 0
    totals: np.ndarray | None = None
    squares: np.ndarray | None = None
    fill: tuple[float, float] | None = None
    scaling: tuple[tuple[float, float], ...] = ()
    digest: bytes = b''
    image: str = ''
    label: str | None = None
    georeference: GeoReference = field(default_factory=GeoReference)
    histogram: np.ndarray | None = None
    similarity: int | None = None


def band_sums(
    samples: np.ndarray, invalid: np.ndarray | None
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of valid pixels, and sum and sum of squares per band over them."""
    values = valid_pixels(samples, invalid).astype(np.float64)
    return values.shape[1], values.sum(1), (values**2).sum(1)


def inspect_pair(
    pair: tuple[str, str | None],
    expected: Expectation,
    statistics: bool = False,
    bins: HistogramBins | None = None,
) -> PairReport:
    """Check an image and its label; errors in the files are reported, not raised.

    Args:
        pair: Paths of image and label; the label may be None.
        expected: Requirements on the pair.
        statistics: Whether to read the image and compute sums and hash.
        bins: Bins of the histogram; with ``statistics``, also compute it and the perceptual hash.
    """
    image_path, label_path = pair
    report, invalid = PairReport(image=image_path, label=label_path), None
    try:
        with Raster(image_path, expected.nodata) as raster:
            info = raster.info
            report.shape, report.georeference = info.shape, info.georeference
            index = _check_image_bands(info, expected, report)
            report.scaling = tuple(info.scaling[i] for i in index)
            gaps = info.may_have_invalid or expected.nodata is not None
            if statistics or (gaps and label_path is not None):
                samples = raster.samples(bands=index)
                invalid = samples.invalid
                report.invalid = 0 if invalid is None else int(invalid.sum())
                sums = band_sums(samples.values, invalid)
                report.pixels, report.totals, report.squares = sums
                report.fill = find_fill(samples.values, invalid)
                content = np.ascontiguousarray(samples.values).data
                report.digest = hashlib.blake2b(content, digest_size=16).digest()
                if bins is not None:
                    report.histogram = bins.count(samples.values, invalid)
                    report.similarity = difference_hash(samples.values, invalid)
        if label_path is not None:
            _check_label(label_path, info, invalid, expected.labels, report)
    except RasterError as error:
        report.problems.append(str(error))
    except LabelError as error:
        report.problems.append(f'{label_path}: {error}')
    return report


def _check_image_bands(info: RasterInfo, expected: Expectation, report: PairReport) -> list[int]:
    """Check the bands of an image; return the indices of the used bands, from 0."""
    index, problems, warnings, notes = check_bands(info, expected.bands, expected.used)
    report.problems += problems
    report.warnings += warnings
    report.notes += notes
    report.bands, report.dtype = len(index), info.dtype_of(index)
    if expected.dtype and report.dtype != expected.dtype:
        report.problems.append(
            f'{info.path}: samples are {report.dtype}, expected {expected.dtype}'
        )
    return index


def _check_label(
    path: str,
    image: RasterInfo,
    invalid: np.ndarray | None,
    labels: LabelEncoding,
    report: PairReport,
) -> None:
    """Check a label, and count its classes where the image is valid."""
    with Raster(path) as raster:
        info, samples = raster.info, label_samples(raster, labels)
    if info.shape != image.shape:
        report.problems.append(
            f'{path}: label of {_size(info.shape)} for an image of {_size(image.shape)}: '
            f'{resampling_advice(*image.shape)}'
        )
    elif apart := image.georeference.describe_misalignment(info.georeference, *image.shape):
        report.problems.append(f"{path}: its georeference differs from its image's: {apart}")
    if len(samples.values) == 1 and samples.values.dtype.kind in 'ui':
        report.values = {int(value) for value in np.unique(samples.values)}
    report.warnings += _warn_of_nodata(path, samples, labels)
    if contradiction := labels.check_colour_table(info.colour_table):
        report.warnings.append(f'{path}: {contradiction}')
    report.class_pixels = np.zeros(labels.num_classes, np.int64)
    ids = labels.encode(samples)
    if invalid is not None and ids.shape == invalid.shape:
        ids = ids[~invalid]
    counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
    report.class_pixels += counts[: labels.num_classes]


def _warn_of_nodata(path: str, samples: Samples, labels: LabelEncoding) -> list[str]:
    """Return a warning if a label's declared nodata value is a class by its convention."""
    value = samples.nodata[0]
    if labels.is_coloured or value is None or not float(value).is_integer():
        return []
    if labels.codes.get(int(value), IGNORE) == IGNORE:
        return []
    return [
        f'{path}: declares {value:g} as nodata, which is a class by label_convention='
        f"'{labels.convention}': used as the class"
    ]


def inspect_pairs(
    pairs: Sequence[tuple[str, str | None]],
    expected: Expectation,
    *,
    statistics: bool = False,
    bins: HistogramBins | None = None,
    workers: int = 0,
    track: Callable[[Iterable], Iterable] = iter,
) -> Iterator[PairReport]:
    """Yield the report of :func:`inspect_pair` on each pair, in order.

    Args:
        pairs: Paths of image and label of each pair; the label may be None.
        expected: Requirements on every pair.
        statistics: Whether to compute statistics.
        bins: Bins of the histograms; None computes none.
        workers: Number of worker processes; 0 runs in this process.
        track: Wrapper of the iterator, such as a progress bar.
    """
    inspect = partial(inspect_pair, expected=expected, statistics=statistics, bins=bins)
    if workers == 0:
        yield from track(map(inspect, pairs))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from track(pool.map(inspect, pairs, chunksize=8))


class ImageSummary(NamedTuple):
    """Statistics of an image: path, mean per band, and fill value (:func:`find_fill`)."""

    path: str
    means: np.ndarray
    fill: tuple[float, float] | None


@dataclass
class DatasetSummary:
    """Summary of the reports on a data set.

    Attributes:
        class_pixels: Labelled pixels per class, (num_classes,).
        files: Number of pairs.
        problems: Errors in pairs and in the label convention, one sentence each.
        warnings: Findings that may be errors or intended, each kind once.
        notes: Assumptions made, each kind once.
        invalid: Share of invalid pixels of the images.
        sizes: Number of pairs by (height, width).
        bands: Number of pairs by number of bands.
        dtypes: Number of pairs by numpy type.
        unlabelled: Share of unlabelled pixels in the valid pixels.
        mean, std: Mean and standard deviation per band, (bands,); None without statistics.
        images: Statistics of each image.
    """

    class_pixels: np.ndarray
    files: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    invalid: float = 0.0
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    bands: dict[int, int] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    unlabelled: float = 0.0
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    images: list[ImageSummary] = field(default_factory=list)


def summarise(reports: Iterable[PairReport], labels: LabelEncoding) -> DatasetSummary:
    """Summarise the reports on the pairs of a data set."""
    summary = DatasetSummary(class_pixels=np.zeros(labels.num_classes, np.int64))
    values: set[int] = set()
    pixels, area, invalid = 0, 0, 0
    totals = squares = np.zeros(())
    warnings: list[str] = []
    notes: list[str] = []
    scalings: dict[tuple[tuple[float, float], ...], str] = {}
    for report in reports:
        summary.files += 1
        summary.problems += report.problems
        warnings += report.warnings
        notes += report.notes
        invalid += report.invalid
        values |= report.values
        if report.scaling:
            scalings.setdefault(report.scaling, report.image)
        if report.shape:
            kinds: tuple[tuple[dict[Any, int], Any], ...] = (
                (summary.sizes, report.shape),
                (summary.bands, report.bands),
                (summary.dtypes, report.dtype),
            )
            for counts, key in kinds:
                counts[key] = counts.get(key, 0) + 1
            area += report.shape[0] * report.shape[1]
        if report.class_pixels is not None:
            summary.class_pixels += report.class_pixels
        if (
            report.totals is not None
            and report.squares is not None
            and report.bands == next(iter(summary.bands))
        ):
            pixels += report.pixels
            totals, squares = totals + report.totals, squares + report.squares
            if report.pixels:
                means = report.totals / report.pixels
                summary.images.append(ImageSummary(report.image, means, report.fill))
    summary.warnings += deduplicate_messages(warnings) + compare_scalings(scalings)
    summary.notes += deduplicate_messages(notes)
    other = labels.detect_other_convention(values)
    if other:
        summary.problems.append(
            f"the labels contain {_ranges(values)}: this looks like label_convention='{other}', "
            f"not '{labels.convention}'"
        )
    other = labels.suspect_other_convention(values)
    if other:
        summary.warnings.append(
            f'the labels contain {_ranges(values)}, but never the last class. If 0 is a class and '
            f"not 'unlabelled', set label_convention='{other}'"
        )
    if values == {0, IGNORE} and labels.convention == 'train_id' and labels.num_classes == 2:
        summary.warnings.append(
            'the labels contain only 0 and 255: 255 means unlabelled, so the second class never '
            'occurs. For a binary mask, set label_values=(0, 255)'
        )
    for kind, counts in (('numbers of bands', summary.bands), ('types', summary.dtypes)):
        if len(counts) > 1:
            listed = ', '.join(f'{key} ({count})' for key, count in counts.items())
            summary.problems.append(f'images of different {kind}: {listed}')
    if len(summary.sizes) > 1:
        listed = ', '.join(f'{_size(key)} ({count})' for key, count in summary.sizes.items())
        summary.notes.append(
            f'images of different sizes: {listed}. RandomCrop crops larger ones to one size; '
            'smaller ones are padded to the largest of their batch, as unlabelled'
        )
    if area:
        summary.invalid = invalid / area
        labelled = float(summary.class_pixels.sum())
        summary.unlabelled = 1 - labelled / (area - invalid) if area > invalid else 0.0
    if pixels:
        summary.mean = mean = totals / pixels
        summary.std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return summary


def compare_scalings(
    scalings: Mapping[tuple[tuple[float, float], ...], str], remedy: str = 'dnas convert'
) -> list[str]:
    """Return a warning if files declare different scales and offsets.

    Args:
        scalings: Path of a file for each combination of scales and offsets.
        remedy: Command with the option ``--apply-scale``.
    """
    if len(scalings) < 2:
        return []
    listed = [
        f'{path} ({", ".join(dict.fromkeys(f"x {s:g} {o:+g}" for s, o in scaling))})'
        for scaling, path in list(scalings.items())[:3]
    ]
    return [
        f'the files declare {len(scalings)} different scales and offsets, so equal samples are '
        f'different values: {", ".join(listed)}. Use {remedy} --apply-scale'
    ]


def check_bands(
    info: RasterInfo, bands: tuple[str, ...], used: tuple[str, ...] = ()
) -> tuple[list[int], list[str], list[str], list[str]]:
    """Compare the bands of an image with the expected ones.

    Args:
        info: Metadata of the image.
        bands: Expected band names, in file order; empty if unknown.
        used: Names of the used bands; empty for all.

    Returns:
        Positions of the used bands in the file; and problems, warnings and notes, one sentence
        each.
    """
    data_bands = list(info.data_bands)
    try:
        choice = choose_bands(info.path, info.band_names, used, bands)
    except UserError as error:
        if not bands or len(bands) in (info.bands, len(data_bands)):
            return data_bands, [str(error)], [], []
        problem = (
            f'{info.path}: {info.bands} bands, expected {len(bands)} ({", ".join(bands)}). '
            'List all bands of the file in metainfo `bands`, in file order, and select bands with '
            'SelectBands in the pipeline.'
        )
        return data_bands, [problem], [], []
    described = [(i, name) for i, name in enumerate(info.descriptions) if name]
    positions = data_bands if len(bands) == len(data_bands) else range(info.bands)
    names = dict(zip(positions, bands, strict=False))
    if bands and described and any(name != names.get(i) and name in bands for i, name in described):
        problem = (
            f'{info.path}: its band descriptions are '
            f'{", ".join(name or "?" for name in info.descriptions)}, expected '
            f'{", ".join(bands)}'
        )
        return list(choice.index), [problem], [], []
    notes = list(choice.notes) if not bands else []
    if bands and not any(info.band_names):
        notes.append(
            f'{info.path} has no band names: assumed to be {", ".join(bands)}, in this order, '
            'as set for the data set'
        )
    return list(choice.index), [], list(choice.notes) if bands else [], notes


def deduplicate_messages(messages: list[str]) -> list[str]:
    """Return one message of each kind, with the number of further files.

    Messages are of one kind if they differ only in the leading file name.

    Example:
        >>> deduplicate_messages(['a.tif: too small', 'b.tif: too small'])
        ['a.tif: too small (and 1 more files)']
    """
    kinds: dict[str, list[str]] = {}
    for message in messages:
        _, colon, rest = message.partition(': ')
        kinds.setdefault(rest if colon else message.partition(' ')[2], []).append(message)
    return [
        alike[0] + (f' (and {len(alike) - 1} more files)' if len(alike) > 1 else '')
        for alike in kinds.values()
    ]


def compare_statistics(
    mean: np.ndarray, std: np.ndarray, data_mean: np.ndarray, data_std: np.ndarray
) -> tuple[str, bool]:
    """Compare a model's normalisation with the statistics of its data.

    Args:
        mean, std: Normalisation of the model, (bands,).
        data_mean, data_std: Statistics of the data, (bands,).

    Returns:
        A message, empty if means differ by at most 0.5 standard deviations and standard deviations
        by at most a factor of 2; and whether the difference prevents training: means differ by
        more than 5 standard deviations, or standard deviations by more than a factor of 10.
    """
    off = float(np.max(np.abs(mean - data_mean) / np.maximum(std, 1e-30)))
    varies = data_std > 0
    ratios = np.maximum(std[varies], 1e-30) / data_std[varies] if varies.any() else np.ones(1)
    ratio = float(np.max(np.maximum(ratios, 1 / ratios)))
    if off <= 0.5 and ratio <= 2:
        return '', False
    return (
        'the normalisation in the config differs from the statistics above: means by up to '
        f'{off:.3g} standard deviations, standard deviations by a factor of up to {ratio:.3g}'
    ), off > 5 or ratio > 10


def exact_number(value: float) -> str:
    """Return a number as text that is read as the same number."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def round_significant(value: float, digits: int = 6) -> float:
    """Round to a number of significant digits."""
    return float(f'{float(value):.{digits}g}')


def resampling_advice(height: int, width: int) -> str:
    """Return how to resample a label to the size of its image."""
    return (
        f'if it covers the same area, resample it by gdal_translate -r nearest -outsize {width} '
        f'{height}'
    )


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[0]} x {shape[1]}'


def _ranges(values: set[int]) -> str:
    """Format values as ranges, ``{0, 1, 2, 3, 255}`` as ``0-3, 255``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ', '.join(str(a) if a == b else f'{a}-{b}' for a, b in runs)

"""Histograms per band."""

import numpy as np
import pytest

from dnas_mmseg.datasets import LabelEncoding, inspect_pairs
from dnas_mmseg.datasets.checks import Expectation
from dnas_mmseg.datasets.histograms import HistogramBins
from dnas_mmseg.raster import write_raster


def expectation(**kwargs):
    return Expectation((), None, LabelEncoding('train_id', 2), **kwargs)


def write(folder, *images, **kwargs):
    paths = [str(folder / f'{i}.tif') for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_raster(path, image, **kwargs)
    return paths


def test_uint8_has_a_bin_per_value(tmp_path):
    image = np.array([[[0, 1], [1, 255]], [[7, 7], [7, 8]]], np.uint8)
    (path,) = write(tmp_path, image)
    bins = HistogramBins.for_files([(path, expectation())])
    assert bins == HistogramBins((0.0, 0.0), (256.0, 256.0))
    counts = bins.count(image)
    assert counts.shape == (2, 256)
    assert {i: n for i, n in enumerate(counts[0]) if n} == {0: 1, 1: 2, 255: 1}
    assert {i: n for i, n in enumerate(counts[1]) if n} == {7: 3, 8: 1}
    np.testing.assert_array_equal(bins.edges(0), np.arange(257))
    assert bins.count(image[:1]) is None


def test_invalid_pixels_are_not_counted(tmp_path):
    image = np.zeros((2, 8, 8), np.uint8)
    image[:, 2:] = 9
    paths = write(tmp_path, image, image, nodata=0)
    bins = HistogramBins.for_files([(path, expectation()) for path in paths])
    for workers in (0, 2):
        pairs = [(path, None) for path in paths]
        reports = inspect_pairs(pairs, expectation(), statistics=True, bins=bins, workers=workers)
        total = sum(report.histogram for report in reports)
        assert total.sum(1).tolist() == [96, 96]
        assert total[:, 9].tolist() == [96, 96]
    (plain,) = inspect_pairs(pairs[:1], expectation(), statistics=True)
    assert plain.histogram is plain.similarity is None


def test_other_types_have_a_robust_range(tmp_path, rng):
    image = rng.integers(1000, 3000, (1, 200, 200)).astype(np.uint16)
    image[0, 0, 0] = 65535
    (path,) = write(tmp_path, image)
    bins = HistogramBins.for_files([(path, expectation())])
    (low,), (high,) = bins.low, bins.high
    assert 850 < low < 1000
    assert 3000 < high < 3400
    assert (high - low) / 256 == 9  # integral, so that every bin has as many values
    counts = bins.count(image)[0]
    assert counts.sum() == image.size
    assert counts[-1] == 1  # beyond the range
    expected, _ = np.histogram(image, bins.edges(0))
    np.testing.assert_array_equal(counts[:-1], expected[:-1])


@pytest.mark.parametrize('value', [0.25, np.nan])
def test_constant_and_invalid_reflectances(tmp_path, value):
    image = np.full((1, 16, 16), value, np.float32)
    (path,) = write(tmp_path, image)
    bins = HistogramBins.for_files([(path, expectation())])
    assert bins.high[0] > bins.low[0]
    invalid = ~np.isfinite(image[0])
    assert bins.count(image, invalid).sum() == (~invalid).sum()


def test_files_are_sampled_and_damaged_ones_skipped(tmp_path):
    images = [np.full((1, 4, 4), i, np.uint16) for i in range(200)]
    files = [(path, expectation()) for path in write(tmp_path, *images)]
    files[0] = (str(tmp_path / 'missing.tif'), expectation())
    bins = HistogramBins.for_files(files)
    assert (bins.low[0], bins.high[0]) == (-6.0, 250.0)  # 4 to 196: every fourth file
    assert HistogramBins.for_files(files[:1]) is None
    assert HistogramBins.for_files([]) is None

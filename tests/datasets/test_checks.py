import numpy as np
import pytest

from dnas_mmseg.datasets import GID5Dataset, inspect_pairs, summarise
from dnas_mmseg.raster import read_raster, write_raster


@pytest.mark.parametrize('workers', [0, 2])
def test_statistics_are_over_all_pixels(data_root, workers):
    dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt')
    reports = inspect_pairs(dataset.pairs, dataset.expected, statistics=True, workers=workers)
    summary = summarise(reports, dataset.labels)
    images = np.stack([read_raster(image) for image, _ in dataset.pairs]).astype(float)
    labels = np.stack([read_raster(label) for _, label in dataset.pairs])
    np.testing.assert_allclose(summary.mean, images.mean((0, 2, 3)))
    np.testing.assert_allclose(summary.std, images.std((0, 2, 3)))
    np.testing.assert_array_equal(
        summary.class_pixels, np.bincount(labels.ravel(), minlength=256)[:5]
    )
    assert summary.unlabelled == pytest.approx((labels == 255).mean())
    assert summary.problems == []


def test_nodata_is_excluded_from_statistics(tmp_path, data_root):
    image = data_root / 'images/t_0_0.tif'
    samples = read_raster(image)
    samples[:, :20] = 0
    write_raster(image, samples, nodata=0)
    dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt')
    (report,) = inspect_pairs(dataset.pairs[:1], dataset.expected, statistics=True)
    assert report.pixels == 44 * 64


def test_every_problem_is_reported(data_root):
    dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt')
    (data_root / 'images/t_0_0.tif').write_bytes(b'II*\0')
    label = read_raster(data_root / 'labels/t_2_0.png')[0]
    label[0, 0] = 9
    write_raster(data_root / 'labels/t_2_0.png', label)
    summary = summarise(inspect_pairs(dataset.pairs, dataset.expected), dataset.labels)
    assert len(summary.problems) == 2
    assert summary.files == 4

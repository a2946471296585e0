"""Estimated cost of planned maps."""

import numpy as np
import pytest

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.mapping.map_estimate import estimate_maps, time_windows
from dnas_mmseg.mapping.map_plan import plan_scenes
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.shares import divide_jobs
from dnas_mmseg.raster import write_raster

TILING = Tiling(32, 8, batch=2)


class Model:
    num_bands, threshold, normalisation = 3, None, None

    def __init__(self):
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE)
        self.batches = []

    def logits(self, images):
        self.batches.append((*images[0].shape, len(images)))
        return np.zeros((len(images), len(CLASSES), *images[0].shape[1:]), np.float32)


def write(path, size, bands=3):
    write_raster(path, np.ones((bands, *size), np.uint16))
    return path


def test_counts_and_bytes_are_those_of_the_scenes(tmp_path):
    paths = [write(tmp_path / 'a.tif', (100, 56)), write(tmp_path / 'b.tif', (20, 30))]
    plan = plan_scenes(Model(), paths, tmp_path / 'out', tiling=TILING)
    found = estimate_maps(plan.jobs, TILING)
    assert found.scenes == 2
    assert found.windows == 4 * 2 + 1
    assert found.gigapixels == pytest.approx((100 * 56 + 20 * 30) / 1e9)
    assert found.stored_bytes == sum(path.stat().st_size for path in paths)
    assert found.sample_bytes == (8 * 32 * 32 + 20 * 30) * 3 * 2
    assert not (tmp_path / 'out').exists()


def test_maps_that_exist_cost_nothing(tmp_path):
    paths = [write(tmp_path / f'{name}.tif', (40, 40)) for name in 'ab']
    predict_scenes(Model(), paths[:1], tmp_path / 'out', tiling=TILING)
    options = dict(tiling=TILING, resume=True, products=MapProducts(qgis_style=True))
    plan = plan_scenes(Model(), paths, tmp_path / 'out', **options)
    assert [job.outputs.is_mapped for job in plan.jobs] == [True, False]
    assert estimate_maps(plan.jobs, TILING).windows == 4


def test_a_window_is_timed_in_full_batches():
    model = Model()
    assert 0 < time_windows(model, 3, TILING, repeats=2) < 1
    assert model.batches == [(3, 32, 32, 2)] * 3


def plan_sizes(tmp_path, *sizes):
    paths = [write(tmp_path / f'{i}.tif', size, 1) for i, size in enumerate(sizes)]
    return plan_scenes(Model(), paths, tmp_path / 'out', tiling=TILING).jobs


def test_scenes_are_divided_and_grouped_by_their_windows(tmp_path):
    """Windows: 44 x 2 of the first, one each of 40 others."""
    jobs = plan_sizes(tmp_path, (1064, 50), *[(20, 20)] * 40)
    shares = divide_jobs(jobs, TILING, workers=4)
    assert [len(share.blocks) for share in shares] == [3, 0, 0, 0, 0, 0]
    blocks = shares[0].blocks
    assert (blocks[0].top, blocks[-1].bottom) == (0, 1064)
    assert [len(share.jobs) for share in shares[1:]] == [8] * 5
    assert [share.blocks for share in divide_jobs(jobs, TILING, workers=1)] == [[]] * 3


def test_small_scenes_occupy_all_workers(tmp_path):
    shares = divide_jobs(plan_sizes(tmp_path, *[(20, 20)] * 8), TILING, workers=4)
    assert [len(share.jobs) for share in shares] == [1] * 8

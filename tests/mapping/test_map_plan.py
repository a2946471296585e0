"""Plans of maps."""

import numpy as np

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.mapping.map_plan import plan_scenes
from dnas_mmseg.raster import write_raster


class Model:
    dataset_meta = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)  # noqa: RUF012


def write(path, bands=4):
    write_raster(path, np.ones((bands, 9, 9), np.uint8))
    return path


def test_maps_are_named_like_their_scenes_whether_these_can_be_mapped_or_not(tmp_path):
    paths = [write(tmp_path / name) for name in ('t32/b.tif', 't33/b.tif', 'c.tif')]
    paths += [tmp_path / 'missing.tif', write(tmp_path / 'three.tif', bands=3)]
    plan = plan_scenes(Model(), paths, tmp_path / 'out')
    assert [job.target.name for job in plan.jobs] == ['t32_b.tif', 't33_b.tif', 'c.tif']
    assert list(plan.failures) == [str(path) for path in paths[3:]]
    assert 'no such file' in str(plan.failures[str(paths[3])])
    assert '3 bands without names' in str(plan.failures[str(paths[4])])
    names = ['t32_b.tif', 't33_b.tif', 'c.tif', 'missing.tif', 'three.tif']
    assert list(plan.targets.values()) == [tmp_path / 'out' / name for name in names]
    assert not (tmp_path / 'out').exists()


def test_shards_divide_the_scenes(tmp_path):
    paths = [write(tmp_path / f'{i}.tif') for i in range(5)]
    shards = [plan_scenes(Model(), paths, tmp_path / 'o', shard=(i, 2)) for i in (1, 2)]
    names = [[job.target.stem for job in plan.jobs] for plan in shards]
    assert names == [['0', '2', '4'], ['1', '3']]

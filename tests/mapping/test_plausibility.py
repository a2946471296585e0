"""Scenes that are unlike the training tiles."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.mapping.plausibility import describe_deviation
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import Raster, write_raster

BANDS = ('nir', 'red', 'green', 'blue')


@pytest.fixture
def model(trained):
    model = load_segmentor(Config.fromfile(str(trained[0])), trained[1], 'cpu')
    shape = model.data_preprocessor.mean.shape
    model.data_preprocessor.mean = torch.tensor([100.0, 110.0, 120.0, 130.0]).view(shape)
    model.data_preprocessor.std = torch.tensor([20.0, 20.0, 20.0, 20.0]).view(shape)
    return model


def scene(path, rng, shape=(300, 200), shift=0.0):
    means = np.array([100.0, 110, 120, 130])[:, None, None]
    samples = (rng.normal(means + shift, 10, (4, *shape))).astype(np.float32)
    write_raster(path, samples, names=BANDS)
    return samples


def deviations(model, path, nodata=None):
    with Raster(path, nodata) as raster:
        return describe_deviation(SegmentorWindows(model).normalisation, raster, range(4), BANDS)


def test_scenes_like_the_training_tiles(model, tmp_path, rng):
    for name, shape in (('large', (300, 200)), ('small', (40, 50))):
        scene(tmp_path / f'{name}.tif', rng, shape)
        assert deviations(model, tmp_path / f'{name}.tif') == []


def test_another_unit(model, tmp_path, rng):
    scene(tmp_path / 'a.tif', rng, shift=60)
    (text,) = deviations(model, tmp_path / 'a.tif')
    assert 'in the training tiles' in text
    assert text.endswith('another sensor, unit or order of bands')


def test_another_range(model, tmp_path, rng):
    samples = scene(tmp_path / 'a.tif', rng)
    model.data_preprocessor.std *= 3
    write_raster(tmp_path / 'a.tif', samples / 1000, names=BANDS)
    (text,) = deviations(model, tmp_path / 'a.tif')
    assert 'all bands vary by another order of magnitude' in text


def test_undeclared_fill_values(model, tmp_path, rng):
    samples = scene(tmp_path / 'a.tif', rng)
    samples[:, :60] = -9999
    write_raster(tmp_path / 'a.tif', samples, names=BANDS)
    (text,) = deviations(model, tmp_path / 'a.tif')
    assert re.search('all bands are -9999 in (19|20) %', text)
    assert text.endswith('set --nodata -9999')
    assert deviations(model, tmp_path / 'a.tif', nodata=-9999) == []
    write_raster(tmp_path / 'a.tif', samples, names=BANDS, nodata=-9999)
    assert deviations(model, tmp_path / 'a.tif') == []


def test_maps_come_with_the_warning(model, tmp_path, rng):
    scene(tmp_path / 'a.tif', rng, (64, 64), shift=200)
    notes = predict_scenes(model, [tmp_path / 'a.tif'], tmp_path / 'out', tiling=Tiling(64, 16))
    assert any('another sensor, unit' in n for n in notes[tmp_path / 'out/a.tif'])

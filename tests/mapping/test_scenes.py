"""Prediction of many scenes, as by `dnas predict`."""

import errno

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, save_checkpoint
from mmseg.registry import MODELS
from osgeo import ogr

from dnas_mmseg.bands import choose_bands
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.raster import Raster, read_raster, write_raster

from ..conftest import ROOT
from .conftest import scenes


def test_bands_are_selected_by_name(trained, tmp_path, rng):
    config = Config.fromfile(str(trained[0]))
    model = load_segmentor(config, trained[1], 'cpu')
    assert model.dataset_meta['classes'] == list(CLASSES)
    assert model.dataset_meta['bands'] == BANDS
    (straight,) = scenes(tmp_path / 'in', rng, 'a', names=BANDS)
    samples = read_raster(straight)
    reordered = tmp_path / 'in/reordered.tif'
    write_raster(reordered, samples[[3, 2, 0, 1]], names=('blue', 'green', 'nir', 'red'))
    nameless = tmp_path / 'in/nameless.tif'
    write_raster(nameless, samples[[3, 2, 0, 1]])
    predict_scenes(model, [straight, reordered], tmp_path / 'out', tiling=Tiling(64, 16))
    predict_scenes(
        model, [nameless], tmp_path / 'out', tiling=Tiling(64, 16),
        bands=('blue', 'green', 'nir', 'red'),
    )  # fmt: skip
    maps = [read_raster(tmp_path / f'out/{name}.tif') for name in ('a', 'reordered', 'nameless')]
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()


def test_a_map_equals_the_networks_prediction_of_a_small_scene(trained, tmp_path, rng):
    config = Config.fromfile(str(trained[0]))
    model = load_segmentor(config, trained[1], 'cpu')
    (scene,) = scenes(tmp_path / 'in', rng, 'a')
    predict_scenes(model, [scene], tmp_path / 'out')
    data = {'inputs': [torch.from_numpy(read_raster(scene))]}
    with torch.no_grad():
        expected = model.test_step({**data, 'data_samples': None})[0].pred_sem_seg.data[0]
    assert (read_raster(tmp_path / 'out/a.tif')[0] == expected.numpy()).all()


@pytest.mark.parametrize(
    ('names', 'count', 'override', 'message'),
    [
        (('red', 'green', 'blue', 'swir'), 4, None, 'the model takes nir, red, green, blue; the'),
        ((), 3, None, '3 bands without names'),
        ((), 4, ('red', 'green'), 'has 4 bands, but 2 band names are set'),
        (BANDS, 4, ('a', 'x', 'c', 'd'), 'the band names are set to a, x, c, d, without nir'),
    ],
)
def test_bands_that_do_not_match_are_refused(tmp_path, names, count, override, message):
    write_raster(tmp_path / 's.tif', np.zeros((count, 8, 8), np.uint8), names=names)
    with Raster(tmp_path / 's.tif') as raster, pytest.raises(UserError, match=message):
        choose_bands('s.tif', raster.info.band_names, BANDS, override or ())


def test_generic_band_names_are_ignored(tmp_path):
    names = [f'Band {i}' for i in range(1, 5)]
    write_raster(tmp_path / 's.tif', np.zeros((4, 8, 8), np.uint8), names=names)
    with Raster(tmp_path / 's.tif') as raster:
        names = raster.info.band_names
    choice = choose_bands('s.tif', names, BANDS)
    assert choice.index == (0, 1, 2, 3)
    assert choice.notes == (
        's.tif has no band names: assumed to be nir, red, green, blue, in this order',
    )
    assert choose_bands('s.tif', names) == ((0, 1, 2, 3), (), ())


def test_errors_before_the_first_map(trained, tmp_path, rng):
    config = Config.fromfile(str(trained[0]))
    model = load_segmentor(config, trained[1], 'cpu')
    (a,) = scenes(tmp_path / 'in', rng, 'a')
    with pytest.raises(UserError, match='is listed twice'):
        predict_scenes(model, [a, a], tmp_path / 'out')
    with pytest.raises(UserError, match='the map would overwrite the scene itself'):
        predict_scenes(model, [a], tmp_path / 'in')
    with pytest.raises(UserError, match='shard 3/2'):
        predict_scenes(model, [a], tmp_path / 'out', shard=(3, 2))
    write_raster(tmp_path / 'in/three.tif', np.zeros((3, 9, 9), np.uint8))
    with pytest.raises(UserError, match='3 bands without names'):
        predict_scenes(model, [tmp_path / 'in/three.tif'], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    with pytest.raises(CheckpointError, match='does not fit the model'):
        config.model.decode_head.num_classes = 7
        load_segmentor(config, trained[1], 'cpu')


@pytest.mark.parametrize(
    'name', ['pspnet/pspnet_r18-d8_gid5.py', 'deeplabv3plus/deeplabv3plus_r18-d8_gid5.py']
)
def test_other_models_map_as_well(name, tmp_path, rng):
    config = Config.fromfile(str(ROOT / 'configs' / name))
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'm.pth'))
    model = load_segmentor(config, tmp_path / 'm.pth', 'cpu')
    assert model.dataset_meta['classes'][0] == 'built-up'
    (scene,) = scenes(tmp_path / 'in', rng, 'a', size=(40, 100))
    (target,) = predict_scenes(model, [scene], tmp_path / 'out', tiling=Tiling(64, 16))
    assert read_raster(target).shape == (1, 40, 100)


def test_checkpoints_of_the_runner_contain_the_classes(data_root, tmp_path):
    """Classes, palette and bands come from the checkpoint, without a test set in the config."""
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
            train_cfg=dict(max_epochs=1),
            log_level='ERROR',
            experiment_name=tmp_path.name,
        )
    )
    config.visualizer.name = tmp_path.name
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(data_root)
        config[f'{split}_dataloader'].num_workers = 0
    Runner.from_cfg(config).train()
    config.test_dataloader = None
    model = load_segmentor(config, tmp_path / 'run/epoch_1.pth', 'cpu')
    assert tuple(model.dataset_meta['bands']) == BANDS
    assert len(model.dataset_meta['classes']) == len(model.dataset_meta['palette']) == 5


def test_polygons_quick_look_and_style_are_written(trained, tmp_path, rng):
    model = load_segmentor(Config.fromfile(str(trained[0])), trained[1], 'cpu')
    (scene,) = scenes(tmp_path / 'in', rng, 'a', nodata=0)
    out = tmp_path / 'out'
    (target,) = predict_scenes(
        model, [scene], out,
        products=MapProducts(polygons=True, quick_look=True, qgis_style=True),
    )  # fmt: skip
    classes = read_raster(target)[0]
    package = ogr.Open(str(out / 'polygons/a.gpkg'))  # its layers become invalid without it
    areas = np.zeros(5)
    for feature in package.GetLayer('classes'):
        areas[feature['class_id']] += feature.geometry().GetArea()
        assert feature['class'] == CLASSES[feature['class_id']]
    np.testing.assert_array_equal(areas, np.bincount(classes.ravel(), minlength=5))
    picture = mmcv.imread(str(out / 'quick_look/a.png'))
    assert picture.shape[1] > 1.5 * picture.shape[0]
    assert 'label="farmland"' in (out / 'a.qml').read_text()
    assert (out / 'a.tif.aux.xml').is_file()


@pytest.mark.parametrize('product', ['probabilities', 'polygons'])
def test_a_full_disk_leaves_nothing_under_a_final_name(
    trained, tmp_path, rng, monkeypatch, product
):
    model = load_segmentor(Config.fromfile(str(trained[0])), trained[1], 'cpu')
    (scene,) = scenes(tmp_path / 'in', rng, 'a')
    out = tmp_path / 'out'

    def full(path):
        if path.parent.name == product:
            raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('dnas_mmseg.files.sync_file', full)
    with pytest.raises(UserError, match=f'{product}/a.*: cannot be written .*No space left'):
        predict_scenes(model, [scene], out, products=MapProducts(**{product: True}))
    monkeypatch.undo()
    assert not list((out / product).iterdir())
    (target,) = predict_scenes(
        model, [scene], out, resume=True, products=MapProducts(**{product: True})
    )
    assert target.is_file()
    assert len(list((out / product).iterdir())) == 1

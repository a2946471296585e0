"""Pretrained models of the package."""

import pytest
import torch

from dnas_mmseg import apis
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.engine.checkpoints import load_weights_and_meta
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.mapping.pretrained import (
    get_pretrained_model,
    list_pretrained_models,
    save_pretrained_model,
)
from dnas_mmseg.mapping.segmentor import load_segmentor

from ..conftest import ROOT, run


@pytest.mark.parametrize('name', list(list_pretrained_models()))
def test_a_pretrained_model_is_complete(name):
    model = get_pretrained_model(name)
    loaded = load_segmentor(load_config(model.config), model.weights, 'cpu')
    metadata = model.metadata
    assert tuple(loaded.dataset_meta['classes']) == tuple(metadata.classes)
    assert tuple(loaded.dataset_meta['bands']) == tuple(metadata.bands)
    assert sum(p.numel() for p in loaded.parameters()) == metadata.parameters
    card = model.card.read_text(encoding='utf-8')
    assert metadata.licence in card
    assert f'dnas predict {name} scene.tif' in card
    assert sum(path.stat().st_size for path in model.folder.iterdir()) < 2**20
    weights, _ = load_weights_and_meta(model.weights)
    assert all(v.dtype.itemsize == 2 for v in weights.values() if v.is_floating_point())


def test_the_metadata_have_the_measured_scores(shared, tmp_path):
    model = get_pretrained_model('naip_small')
    config = load_config(
        ROOT / 'configs/densenas/densenas_narrow_naip.py',
        data_root=shared / 'data/naip_rgbn',
        work_dir=tmp_path,
        options={'test_dataloader.num_workers': 0, 'experiment_name': str(tmp_path)},
    )
    config.model = load_config(model.config).model
    scores = apis.test(config, str(model.weights))
    for name in ('mIoU', 'OA', 'IoU.water'):
        assert scores[name] == pytest.approx(
            model.metadata.scores[f'{name} on the test tiles'], abs=0.1
        )


def test_scaling_and_order_of_the_bands_are_saved(small, tmp_path):
    """They are those of the data set, which the saved config does not have."""
    checkpoint = torch.load(small[1], weights_only=True)
    checkpoint['meta']['dataset_meta'].update(apply_scale=True, use_bands=BANDS[::-1])
    torch.save(checkpoint, tmp_path / 'scaled.pth')
    metadata = get_pretrained_model('naip_small').metadata
    config = load_config(small[0])
    save_pretrained_model(tmp_path / 'saved', config, tmp_path / 'scaled.pth', metadata)
    found = torch.load(tmp_path / 'saved/weights.pth', weights_only=True)['meta']['dataset_meta']
    assert (found['apply_scale'], tuple(found['bands'])) == (True, BANDS[::-1])


def test_models_are_selected_by_name(tmp_path, rng):
    from dnas_mmseg.raster import write_raster

    samples = rng.integers(0, 255, (4, 80, 70)).astype('uint8')
    write_raster(tmp_path / 's.tif', samples, names=('red', 'green', 'blue', 'nir'))
    code, output = run(
        ROOT / 'tools/predict.py', 'naip_small', tmp_path / 's.tif', '--out-dir', tmp_path / 'maps'
    )
    assert code == 0, output
    assert (tmp_path / 'maps/s.tif').is_file()
    code, output = run(ROOT / 'tools/models.py')
    assert code == 0
    assert 'naip_small' in output
    code, output = run(ROOT / 'tools/models.py', 'naip_small')
    assert 'USDA NAIP, public domain' in output

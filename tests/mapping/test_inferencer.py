"""MMSegInferencer interface on images that OpenCV cannot read."""

import shutil

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.apis import MultiBandInferencer, load_segmentor
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.pretrained import get_pretrained_model
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import write_raster


def test_inputs_are_paths_folders_and_arrays(trained, tmp_path, rng):
    config, checkpoint = trained
    samples = [rng.integers(1, 255, (4, 40, 50), np.uint8) for _ in range(2)]
    write_raster(tmp_path / 'in/a.tif', samples[0])
    write_raster(tmp_path / 'in/b.tif', samples[1][::-1], names=BANDS[::-1])
    (tmp_path / 'in/b.tif.aux.xml').write_text('<PAMDataset/>')
    windows = SegmentorWindows(load_segmentor(Config.fromfile(str(config)), checkpoint, 'cpu'))
    expected = windows.logits([torch.from_numpy(s) for s in samples]).argmax(1)
    inferencer = MultiBandInferencer(config, checkpoint, device='cpu')
    assert tuple(inferencer.model.dataset_meta['classes']) == CLASSES
    result = inferencer(
        str(tmp_path / 'in'), batch_size=2, out_dir=str(tmp_path / 'out'), return_vis=True
    )
    np.testing.assert_array_equal(np.stack(result['predictions']), expected)
    assert sorted(p.name for p in (tmp_path / 'out/vis').iterdir()) == ['a.png', 'b.png']
    assert len(list((tmp_path / 'out/pred').iterdir())) == 2
    drawn = mmcv.imread(str(tmp_path / 'out/vis/a.png'), channel_order='rgb')
    np.testing.assert_array_equal(drawn, result['visualization'][0])
    assert drawn.shape[0] > 40  # with a legend
    # An array, and a path after an array.
    array = np.ascontiguousarray(samples[0].transpose(1, 2, 0))
    for source in (array, tmp_path / 'in/a.tif'):
        np.testing.assert_array_equal(inferencer(source)['predictions'], expected[0])
    (sample,) = (inferencer([array], return_datasamples=True),)
    assert sample.pred_sem_seg.data.shape == (1, 40, 50)


def test_inputs_and_checkpoints_that_do_not_fit_are_refused(trained, tmp_path):
    config, checkpoint = trained
    inferencer = MultiBandInferencer(str(config), str(checkpoint), device='cpu')
    with pytest.raises(UserError, match=r'the model expects \(H, W, 4\), bands nir, red'):
        inferencer(np.zeros((8, 8, 3), np.uint8))
    write_raster(tmp_path / 'three.tif', np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(UserError, match='3 bands without names'):
        inferencer(str(tmp_path / 'three.tif'))
    other = Config.fromfile(str(config))
    other.model.decode_head.num_classes = 7
    with pytest.raises(CheckpointError, match='does not fit the model'):
        MultiBandInferencer(other, str(checkpoint), device='cpu')


@pytest.mark.parametrize('kind', ['pretrained', 'config without data', 'work dir'])
def test_models_are_loaded_as_by_dnas_predict(tmp_path, rng, kind):
    included = get_pretrained_model('naip_small')
    words = {
        'pretrained': ['naip_small'],
        'config without data': [included.config, included.weights],
        'work dir': [included.config, tmp_path],
    }[kind]
    shutil.copy(included.weights, tmp_path / 'epoch_3.pth')
    (tmp_path / 'last_checkpoint').write_text('epoch_3.pth')
    inferencer = MultiBandInferencer(*words, device='cpu')
    array = rng.integers(1, 255, (40, 50, 4), np.uint8)
    model = load_segmentor(load_config(included.config), included.weights, 'cpu')
    expected = SegmentorWindows(model).logits([torch.from_numpy(array.transpose(2, 0, 1).copy())])
    np.testing.assert_array_equal(inferencer(array)['predictions'], expected[0].argmax(0))


def test_names_of_configs_of_the_package_are_supported():
    inferencer = MultiBandInferencer('dnas_mmseg::dnas/dnas_l12_w16_naip.py', device='cpu')
    assert len(inferencer.model.dataset_meta['classes']) == 5
    with pytest.raises(UserError, match=r'dnas_mmseg::dnas/none\.py: no such config'):
        MultiBandInferencer('dnas_mmseg::dnas/none.py', device='cpu')


@pytest.mark.long
def test_openvino_predicts_the_same(small, tmp_path, rng):
    pytest.importorskip('openvino', reason='the extra openvino is not installed')
    config, checkpoint = small
    arrays = [rng.integers(1, 255, (40, 64, 4), np.uint8) for _ in range(2)]
    by_torch, by_openvino = (
        MultiBandInferencer(config, checkpoint, device='cpu', **options)
        for options in ({}, {'backend': 'openvino', 'window': 64})
    )
    assert by_openvino.model.dataset_meta['classes'] == list(CLASSES)
    for array in arrays:
        expected, got = (i(array)['predictions'] for i in (by_torch, by_openvino))
        assert got.shape == expected.shape
        assert (got == expected).mean() > 0.99
    with pytest.raises(UserError, match="backend 'tensorrt': choose torch or openvino"):
        MultiBandInferencer(config, checkpoint, device='cpu', backend='tensorrt')

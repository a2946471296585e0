"""Maps of models whose config is mmseg's: OpenCV's order of channels."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model

from dnas_mmseg.apis import MultiBandInferencer, load_segmentor, predict_scenes
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import read_raster, write_raster

MEAN, STD = [120.0, 90.0, 60.0], [60.0, 50.0, 40.0]
CLASSES, PALETTE = ('a', 'b', 'c', 'd'), [[i, i, i] for i in range(4)]


@pytest.fixture(params=[True, False], ids=['RGB', 'BGR'])
def stock(request, tmp_path):
    """Return a config as mmseg's, and a checkpoint of random weights."""
    order = slice(None) if request.param else slice(None, None, -1)
    config = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['dnas_mmseg']),
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', mean=MEAN[order], std=STD[order],
                    bgr_to_rgb=request.param, size=(64, 64),
                ),
                backbone=dict(
                    type='ResNetV1c', depth=18, num_stages=4, out_indices=(3,), base_channels=8,
                    strides=(1, 1, 1, 1), norm_cfg=dict(type='BN'),
                ),
                decode_head=dict(
                    type='FCNHead', in_channels=64, channels=8, num_convs=1, num_classes=4,
                    norm_cfg=dict(type='BN'), dropout_ratio=0.0,
                ),
                test_cfg=dict(mode='whole'),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='BaseSegDataset',
                    metainfo=dict(classes=CLASSES, palette=PALETTE),
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='LoadAnnotations'),
                        dict(type='PackSegInputs'),
                    ],
                )
            ),
            test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
        )
    )  # fmt: skip
    torch.manual_seed(0)
    model = init_model(config, device='cpu')
    for parameters in model.parameters():  # the initial ones predict one class
        torch.nn.init.normal_(parameters, std=1.0 if parameters.dim() == 1 else 0.2)
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'm.pth')
    return config, tmp_path / 'm.pth'


@pytest.mark.parametrize('names', [('red', 'green', 'blue'), ('blue', 'green', 'red'), None])
def test_maps_equal_predictions_of_mmseg(stock, tmp_path, rng, names):
    config, checkpoint = stock
    samples = rng.integers(0, 256, (3, 64, 64)).astype(np.uint8)
    samples[0] //= 4
    write_raster(tmp_path / 'rgb.png', samples)
    expected = inference_model(
        init_model(config, str(checkpoint), 'cpu'), str(tmp_path / 'rgb.png')
    )
    expected = expected.pred_sem_seg.data[0].numpy()
    stored = samples[::-1] if names and names[0] == 'blue' else samples
    write_raster(tmp_path / 's.tif', stored, names=names or ('', '', ''))
    model = load_segmentor(config, checkpoint, 'cpu')
    (target,) = predict_scenes(model, [tmp_path / 's.tif'], tmp_path / 'out', tiling=Tiling(64))
    np.testing.assert_array_equal(read_raster(target)[0], expected)
    assert len(np.unique(expected)) > 1
    inferencer = MultiBandInferencer(config, str(checkpoint), device='cpu')
    np.testing.assert_array_equal(inferencer(tmp_path / 's.tif')['predictions'], expected)
    assert model.dataset_meta['bands'] == ('blue', 'green', 'red')
    np.testing.assert_allclose(SegmentorWindows(model).normalisation.mean, MEAN[::-1])

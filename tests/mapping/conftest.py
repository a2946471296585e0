"""Scenes, maps and model outputs for tests."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import write_raster

from ..conftest import ROOT, import_timm

UNETS = {
    'EfficientNet-Lite0': dict(
        type='DenseNAS', architecture='efficientnet_lite0', in_channels=4,
        out_indices=(0, 1, 2, 3, 4),
    ),
    'DenseNAS': dict(
        type='DenseNAS', architecture='densenas_a', in_channels=4, out_indices=(0, 1, 2, 3, 4)
    ),
    'timm': dict(
        type='TIMMEncoder', model_name='mobilenetv3_small_050',
        bands=('nir', 'red', 'green', 'blue'),
    ),
}  # fmt: skip
"""Backbones of U-Nets."""
OTHERS = {'FPN': 'fpn/fpn_r18_naip', 'SegFormer': 'segformer/segformer_mit-b0_naip'}
"""Configs of other models."""


def load_untrained(kind, folder):
    """Load an untrained segmentor of ``UNETS`` or ``OTHERS`` as for inference."""
    if kind == 'timm':
        import_timm()
    name = OTHERS.get(kind, 'unet/unet_lite0_naip')
    config = Config.fromfile(str(ROOT / f'configs/{name}.py'))
    if kind in UNETS:
        config.model.backbone = UNETS[kind]
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(folder / 'm.pth'))
    return load_segmentor(config, folder / 'm.pth', 'cpu')


def pair(folder, rng, name='s', height=1100, width=40):
    """Write a map with missing classes; return it and its label with unlabelled pixels."""
    truth = rng.integers(0, 5, (height, width)).astype(np.uint8)
    classes = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 5, truth.shape))
    truth[:100] = 255
    classes[90:110] = 255
    write_raster(folder / f'maps/{name}.tif', classes.astype(np.uint8))
    return truth, classes


def scenes(folder, rng, *names, size=(60, 70), **kwargs):
    paths = [folder / f'{name}.tif' for name in names]
    for path in paths:
        samples = rng.integers(1, 255, (4, *size)).astype(np.uint8)
        write_raster(path, samples, **kwargs)
    return paths


def relative_error(model, exported, count, rng, size):
    images = [torch.from_numpy(rng.integers(0, 255, (4, *size), np.uint8)) for _ in range(count)]
    expected, got = SegmentorWindows(model).logits(images), exported.logits(images)
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / np.abs(expected).max()


def assert_same_classes(got, expected):
    """Assert that logits predict the same classes.

    Those of an untrained model are centred, so that all classes occur.
    """
    centre = expected.mean((0, 2, 3), keepdims=True)
    classes = (expected - centre).argmax(1)
    assert len(np.unique(classes)) == expected.shape[1]
    assert ((got - centre).argmax(1) == classes).mean() > 0.999

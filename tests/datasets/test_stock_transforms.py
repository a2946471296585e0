"""Statements of docs/transforms.md on mmseg's transforms and their replacements."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmseg.registry import TRANSFORMS

from .conftest import KINDS, LABELS, apply


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'config',
    [
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
        dict(type='RandomRotate', prob=1.0, degree=20.0),
        dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.75),
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='Resize', scale=(64, 48), keep_ratio=True),
        dict(type='ResizeToMultiple', size_divisor=32),
        dict(type='RandomMosaic', prob=1.0, img_scale=(32, 40)),
        dict(type='GenerateEdge', edge_width=3),
        dict(type='MultiBandPhotoMetricDistortion'),
    ],
    ids=lambda config: config['type'],
)
def test_supported_transforms_preserve_bands_type_and_classes(rng, config, kind):
    after, before = apply(config, kind, rng)
    assert after['img'].dtype == before['img'].dtype
    assert after['img'].shape[2] == before['img'].shape[2]
    assert set(np.unique(after['gt_seg_map'])) <= LABELS
    assert after['img'].shape[:2] == after['gt_seg_map'].shape


@pytest.mark.parametrize('kind', KINDS)
def test_random_rot_flip_changes_labels(rng, kind):
    """If this test fails, MultiBandRandomRotate is no longer needed."""
    after, _ = apply(dict(type='RandomRotFlip', rotate_prob=1.0, flip_prob=0.0), kind, rng)
    assert not set(np.unique(after['gt_seg_map'])) <= LABELS


PAD = dict(type='Pad', size=(64, 64), pad_val=dict(img=0, seg=255))
CUT = dict(type='RandomCutOut', prob=1.0, n_holes=1, cutout_shape=(5, 5), seg_fill_in=255)


@pytest.mark.parametrize(
    ('config', 'kind', 'error'),
    [
        *((CUT, kind, ValueError) for kind in KINDS),
        *((dict(type='RGB2Gray'), kind, AssertionError) for kind in KINDS),
        (dict(type='Rerange'), 'float32', AssertionError),
        (PAD, 'uint16', cv2.error),
        (dict(type='PhotoMetricDistortion'), 'uint16', cv2.error),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_unsupported_transforms_fail(rng, config, kind, error):
    with pytest.raises(error):
        apply(config, kind, rng)


def test_cut_out_fills_each_band(rng):
    for kind, bands in (('uint8', 4), ('uint16', 8), ('float32', 4)):
        after, before = apply(dict(CUT, fill_in=(7,) * bands), kind, rng)
        hole = (after['img'] == 7).all(2)
        assert 0 < hole.sum() <= 25
        assert (after['gt_seg_map'][hole] == 255).all()
        np.testing.assert_array_equal(after['img'][~hole], before['img'][~hole])


@pytest.mark.filterwarnings('ignore:invalid value encountered in cast')
@pytest.mark.parametrize('kind', ['uint8', 'float32'])
def test_photo_metric_distortion_drops_a_band(rng, kind):
    after, _ = apply(dict(type='PhotoMetricDistortion'), kind, rng)
    assert after['img'].shape[2] == 3
    assert after['img'].dtype == np.uint8


@pytest.mark.filterwarnings('ignore:invalid value encountered in cast')
@pytest.mark.parametrize('kind', ['uint16', 'float32'])
@pytest.mark.parametrize('name', ['CLAHE', 'AdjustGamma'])
def test_transforms_that_assume_8_bits(rng, name, kind):
    after, before = apply(dict(type=name), kind, rng)
    samples = after['img']
    assert len(np.unique(samples)) <= 256 < len(np.unique(before['img']))
    after, before = apply(dict(type=name), 'uint8', rng)
    assert (after['img'].dtype, after['img'].shape) == (np.uint8, before['img'].shape)


def test_rerange_scales_to_float64(rng):
    for kind in ('uint8', 'uint16'):
        after, before = apply(dict(type='Rerange'), kind, rng)
        assert (after['img'].dtype, after['img'].shape) == (np.float64, before['img'].shape)
        assert (after['img'].min(), after['img'].max()) == (0, 255)


@pytest.mark.parametrize('kind', KINDS)
def test_stock_rotation_and_padding_fill_with_0(rng, kind):
    """The image is padded by 0 instead of the band means; the labels are 255."""
    turned, _ = apply(dict(type='RandomRotate', prob=1.0, degree=(20.0, 20.0)), kind, rng)
    assert (turned['img'][-1, -1] == 0).all()
    assert turned['gt_seg_map'][-1, -1] == 255
    if kind != 'uint16':
        padded, _ = apply(PAD, kind, rng)
        assert (padded['img'][32:] == 0).all()
        assert (padded['gt_seg_map'][32:] == 255).all()


@pytest.mark.parametrize(
    'stock',
    [
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
        dict(type='RandomCrop', crop_size=(20, 20)),
    ],
    ids=lambda config: config['type'],
)
def test_stock_transforms_keep_image_and_label_aligned(rng, stock):
    ids = rng.integers(0, 5, (32, 32)).astype(np.uint8)
    image = np.repeat(ids[..., None].astype(np.uint16) * 1000, 5, axis=2)
    for _ in range(8):
        results = dict(
            img=image.copy(), gt_seg_map=ids.copy(), seg_fields=['gt_seg_map'], img_shape=(32, 32)
        )
        out = Compose([TRANSFORMS.build(stock)])(results)
        assert out['img'].dtype == np.uint16
        np.testing.assert_array_equal(
            out['img'][..., 4], out['gt_seg_map'].astype(np.uint16) * 1000
        )

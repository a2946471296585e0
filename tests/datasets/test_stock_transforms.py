"""What docs/transforms.md says of mmseg's transforms, and the ones of ours that replace some."""

import copy

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

LABELS = {0, 1, 2, 3, 4, 255}


def image(kind, rng):
    if kind == 'uint8':
        return rng.integers(0, 255, (32, 40, 4)).astype(np.uint8)
    if kind == 'uint16':
        return rng.integers(0, 10000, (32, 40, 8)).astype(np.uint16)
    samples = rng.random((32, 40, 4)).astype(np.float32)
    samples[:5, :5] = np.nan
    return samples


def apply(config, kind, rng):
    """Results of a transform, and what went in."""
    ids = rng.integers(0, 5, (32, 40)).astype(np.uint8)
    ids[:4, :4] = 255
    before = dict(
        img=image(kind, rng), gt_seg_map=ids, seg_fields=['gt_seg_map'], img_shape=(32, 40),
        ori_shape=(32, 40), bands=tuple('abcdefgh'),
    )  # fmt: skip
    return TRANSFORMS.build(dict(config))(copy.deepcopy(before)), before


KINDS = ('uint8', 'uint16', 'float32')


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
        dict(type='GenerateEdge', edge_width=3),
        dict(type='MultiBandPhotoMetricDistortion'),
    ],
    ids=lambda config: config['type'],
)
def test_these_keep_bands_type_and_classes(rng, config, kind):
    after, before = apply(config, kind, rng)
    assert after['img'].dtype == before['img'].dtype
    assert after['img'].shape[2] == before['img'].shape[2]
    assert set(np.unique(after['gt_seg_map'])) <= LABELS
    assert after['img'].shape[:2] == after['gt_seg_map'].shape


@pytest.mark.parametrize('kind', KINDS)
def test_the_trap_of_random_rot_flip_is_real(rng, kind):
    """If it ever is not, ours is not needed."""
    after, _ = apply(dict(type='RandomRotFlip', rotate_prob=1.0, flip_prob=0.0), kind, rng)
    assert not set(np.unique(after['gt_seg_map'])) <= LABELS


@pytest.mark.parametrize('kind', KINDS)
def test_photo_metric_distortion_drops_bands_or_fails(rng, kind):
    try:
        after, _ = apply(dict(type='PhotoMetricDistortion'), kind, rng)
    except Exception:
        return
    assert after['img'].shape[2] == 3


@pytest.mark.parametrize('kind', KINDS)
def test_turning_keeps_classes_and_says_what_is_outside(rng, kind):
    after, before = apply(dict(type='MultiBandRandomRotate', prob=1.0, degree=(20, 20)), kind, rng)
    assert after['img'].dtype == np.float32
    assert after['img'].shape == before['img'].shape
    assert set(np.unique(after['gt_seg_map'])) <= LABELS
    outside = np.isnan(after['img']).all(2)
    assert outside[0, 0]
    assert outside[-1, -1]
    assert 0.1 < outside.mean() < 0.4
    assert (after['gt_seg_map'][[0, -1], [0, -1]] == 255).all()
    # Nearest and linear agree on where the image is, but for the pixel on its border.
    assert ((after['gt_seg_map'] == 255) & ~outside).mean() < 0.1
    values = after['img'][~np.isnan(after['img'])]
    assert np.nanmin(before['img']) <= values.min() <= values.max() <= np.nanmax(before['img'])


def test_a_turn_moves_image_and_label_alike(rng):
    ids = np.zeros((41, 41), np.uint8)
    ids[5:12, 18:23] = 1
    ids = np.kron(ids, np.ones((3, 3), np.uint8))
    picture = (1000 * ids.astype(int))[..., None].repeat(5, axis=2).astype(np.uint16)
    results = dict(img=picture, gt_seg_map=ids, seg_fields=['gt_seg_map'])
    turn = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=1.0, degree=(90, 90)))
    after = turn(copy.deepcopy(results))
    np.testing.assert_array_equal(after['gt_seg_map'], np.rot90(ids))
    for band in range(5):
        np.testing.assert_allclose(after['img'][..., band], np.rot90(1000.0 * ids), atol=1e-3)
    still = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=0.0))(dict(results))
    assert still['img'] is picture

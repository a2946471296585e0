"""Rotation of images and labels."""

import copy

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from ..conftest import KINDS, LABELS, apply


@pytest.mark.parametrize('kind', KINDS)
def test_rotation_preserves_classes_and_marks_pixels_outside(rng, kind):
    after, before = apply(dict(type='MultiBandRandomRotate', prob=1.0, degree=(20, 20)), kind, rng)
    assert after['img'].dtype == np.float32
    assert after['img'].shape == before['img'].shape
    assert set(np.unique(after['gt_seg_map'])) <= LABELS
    outside = np.isnan(after['img']).all(2)
    assert outside[0, 0]
    assert outside[-1, -1]
    assert 0.1 < outside.mean() < 0.4
    assert (after['gt_seg_map'][[0, -1], [0, -1]] == 255).all()
    # Only in the unlabelled corner are labels 255 but the image finite.
    assert (after['gt_seg_map'][outside] == 255).all() or kind == 'float32'
    assert ((after['gt_seg_map'] == 255) & ~outside).sum() <= (16 if kind != 'float32' else 0) + 8
    least, most = np.nanmin(before['img']), np.nanmax(before['img'])
    assert np.nanmin(after['img']) >= least - 1e-4 * most
    assert np.nanmax(after['img']) <= most * (1 + 1e-4)


@pytest.mark.parametrize('degree', [0, 20, 45, 90])
def test_nan_does_not_spread(rng, degree):
    """It stays in its band at about its size; rotation by 0 changes nothing."""
    samples = rng.random((41, 41, 5)).astype(np.float32)
    samples[18:21, 19:24, 2] = np.nan
    turn = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=1.0, degree=(degree, degree)))
    ids = np.zeros((41, 41), np.uint8)
    after = turn(dict(img=samples.copy(), gt_seg_map=ids, seg_fields=['gt_seg_map']))
    missing = np.isnan(after['img'])
    outside = after['gt_seg_map'] == 255
    for band in (0, 1, 3, 4):
        np.testing.assert_array_equal(missing[..., band], outside)
    assert abs(int((missing[..., 2] & ~outside).sum()) - 15) <= 3
    if degree == 0:
        np.testing.assert_allclose(after['img'], samples, rtol=1e-6)


def test_rotation_preserves_integers_and_label_types(rng):
    """32-bit integers require float64; labels keep their type."""
    samples = rng.integers(0, 2**30, (9, 9, 2)).astype(np.int32)
    ids = rng.integers(0, 5, (9, 9)).astype(np.int64)
    turn = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=1.0, degree=(0, 0)))
    after = turn(dict(img=samples, gt_seg_map=ids, other=ids, seg_fields=['gt_seg_map', 'other']))
    np.testing.assert_array_equal(after['img'], samples)
    for key in ('gt_seg_map', 'other'):
        assert after[key].dtype == np.int64
        np.testing.assert_array_equal(after[key], ids)


def test_image_and_label_rotate_alike(rng):
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

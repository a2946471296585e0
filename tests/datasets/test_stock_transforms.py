"""What docs/transforms.md says of mmseg's transforms, and the ones of ours that replace some."""

import copy

import cv2
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
    results = copy.deepcopy(before)
    if config['type'] == 'RandomMosaic':
        results['mix_results'] = [copy.deepcopy(before) for _ in range(3)]
    return TRANSFORMS.build(dict(config))(results), before


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
        dict(type='ResizeToMultiple', size_divisor=32),
        dict(type='RandomMosaic', prob=1.0, img_scale=(32, 40)),
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
def test_these_fail(rng, config, kind, error):
    with pytest.raises(error):
        apply(config, kind, rng)


def test_holes_are_cut_with_a_value_for_each_band(rng):
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
def test_these_take_samples_for_eight_bits(rng, name, kind):
    after, before = apply(dict(type=name), kind, rng)
    samples = after['img']
    assert len(np.unique(samples)) <= 256 < len(np.unique(before['img']))
    after, before = apply(dict(type=name), 'uint8', rng)
    assert (after['img'].dtype, after['img'].shape) == (np.uint8, before['img'].shape)


def test_rerange_is_of_the_whole_image_in_floating_point(rng):
    for kind in ('uint8', 'uint16'):
        after, before = apply(dict(type='Rerange'), kind, rng)
        assert (after['img'].dtype, after['img'].shape) == (np.float64, before['img'].shape)
        assert (after['img'].min(), after['img'].max()) == (0, 255)


@pytest.mark.parametrize('kind', KINDS)
def test_what_stock_turns_and_pads_add_is_0(rng, kind):
    """Not the bands' means, but the labels say that it is not to be learned."""
    turned, _ = apply(dict(type='RandomRotate', prob=1.0, degree=(20.0, 20.0)), kind, rng)
    assert (turned['img'][-1, -1] == 0).all()
    assert turned['gt_seg_map'][-1, -1] == 255
    if kind != 'uint16':
        padded, _ = apply(PAD, kind, rng)
        assert (padded['img'][32:] == 0).all()
        assert (padded['gt_seg_map'][32:] == 255).all()


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
    # The unlabelled corner of the image is the only place where labels alone are 255.
    assert (after['gt_seg_map'][outside] == 255).all() or kind == 'float32'
    assert ((after['gt_seg_map'] == 255) & ~outside).sum() <= (16 if kind != 'float32' else 0) + 8
    least, most = np.nanmin(before['img']), np.nanmax(before['img'])
    assert np.nanmin(after['img']) >= least - 1e-4 * most
    assert np.nanmax(after['img']) <= most * (1 + 1e-4)


@pytest.mark.parametrize('degree', [0, 20, 45, 90])
def test_nan_does_not_spread_in_a_turn(rng, degree):
    """It stays in its band, and about as large; without a turn nothing changes."""
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


def test_a_turn_keeps_whole_numbers_and_types_of_labels(rng):
    """32-bit samples need float64; labels of any type keep it."""
    samples = rng.integers(0, 2**30, (9, 9, 2)).astype(np.int32)
    ids = rng.integers(0, 5, (9, 9)).astype(np.int64)
    turn = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=1.0, degree=(0, 0)))
    after = turn(dict(img=samples, gt_seg_map=ids, other=ids, seg_fields=['gt_seg_map', 'other']))
    np.testing.assert_array_equal(after['img'], samples)
    for key in ('gt_seg_map', 'other'):
        assert after[key].dtype == np.int64
        np.testing.assert_array_equal(after[key], ids)


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

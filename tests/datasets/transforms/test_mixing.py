"""Mixing labelled images."""

import numpy as np
import pytest

from dnas_mmseg.datasets import RandomClassMix


def image(value, label, dtype=np.uint8):
    label = np.array(label, np.uint8)
    return dict(img=np.full((*label.shape, 5), value, dtype), gt_seg_map=label)


OWN = [[0, 0, 1, 1], [0, 0, 1, 255]]
OTHER = [[2, 3, 3, 255], [2, 2, 4, 4]]


def test_half_the_classes_are_pasted():
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        own, other = image(10, OWN), image(20, OTHER)
        mixed = RandomClassMix(prob=1.0)({**own, 'mix_results': [other]})
        pasted = np.setdiff1d(mixed['gt_seg_map'], [0, 1, 255])
        assert len(pasted) == 2  # of three
        mask = np.isin(other['gt_seg_map'], pasted)
        np.testing.assert_array_equal(mixed['gt_seg_map'], np.where(mask, OTHER, OWN))
        np.testing.assert_array_equal(mixed['img'], np.where(mask, 20, 10)[..., None].repeat(5, 2))
        assert mixed['img'].dtype == np.uint8
        assert (own['img'] == 10).all()  # the inputs are unchanged
        assert (other['gt_seg_map'] == OTHER).all()
        seen.add(tuple(pasted))
    assert len(seen) == 3


def test_prob_0_leaves_the_image():
    own = image(10, OWN)
    mixed = RandomClassMix(prob=0.0)({**own, 'mix_results': [image(20, OTHER)]})
    assert mixed['img'] is own['img']
    nothing = image(20, np.full((2, 4), 255))
    assert RandomClassMix(prob=1.0)({**own, 'mix_results': [nothing]})['img'] is own['img']


def test_nodata_is_preserved_for_all_types():
    own, other = image(10, OWN), image(np.nan, [[255] * 4, [2] * 4], np.float32)
    other['img'][1] = 0.5
    mixed = RandomClassMix(prob=1.0)({**own, 'mix_results': [other]})
    np.testing.assert_array_equal(mixed['img'][..., 0], [[10] * 4, [0.5] * 4])


def test_different_sizes_raise():
    with pytest.raises(ValueError, match=r'put RandomCrop into the pipeline'):
        RandomClassMix()({**image(1, OWN), 'mix_results': [image(2, [[0, 1]])]})


def test_other_image_is_sampled_from_the_data_set():
    np.random.seed(0)
    sampled = {RandomClassMix().get_indices('abc')[0] for _ in range(50)}
    assert sampled == {0, 1, 2}

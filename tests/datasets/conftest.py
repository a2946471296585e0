"""Images of several sample types, and transforms applied to them."""

import copy

import numpy as np
from mmseg.registry import TRANSFORMS

from .fake_torchgeo import fake, fields, root  # noqa: F401  fixtures

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
    """Return the results of a transform and its input."""
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

"""Window models of segmentors."""

import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.windows import SegmentorWindows, average_flips, binary_threshold


@pytest.fixture
def model(build_segmentor):
    return build_segmentor().eval()


def images(rng, count=2, size=(48, 40)):
    return [torch.from_numpy(rng.integers(1, 255, (4, *size), np.uint8)) for _ in range(count)]


def test_logits_equal_those_of_the_segmentor(model, rng):
    windows = SegmentorWindows(model)
    inputs = images(rng)
    assert (windows.num_bands, windows.threshold) == (4, None)
    with torch.no_grad():
        found = model.test_step({'inputs': inputs, 'data_samples': None})
    got = windows.logits(inputs)
    assert got.dtype == np.float32
    expected = np.stack([sample.seg_logits.data.numpy() for sample in found])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('stock', [False, True], ids=['ours', 'stock'])
def test_missing_samples_become_the_mean_of_the_band(model, rng, stock):
    """Also with mmseg's preprocessor, which passes NaN."""
    if stock:
        model.data_preprocessor = SegDataPreProcessor(mean=[100.0], std=[50.0])
    (inputs,) = (image.float() for image in images(rng, count=1))
    means = inputs.clone()
    inputs[:, 10:20] = float('nan')
    means[:, 10:20] = 100
    windows = SegmentorWindows(model)
    np.testing.assert_allclose(windows.logits([inputs]), windows.logits([means]), atol=1e-6)


def test_flips_are_averaged_in_place(model, rng):
    """The averaged logits of a symmetric window are symmetric."""
    (part,) = images(rng, count=1, size=(32, 32))
    whole = torch.cat([part, part.flip(1)], 1)
    whole = torch.cat([whole, whole.flip(2)], 2)
    windows = SegmentorWindows(model)
    got = average_flips(windows, [whole])
    np.testing.assert_allclose(got, got[:, :, ::-1, ::-1], rtol=1e-4, atol=1e-5)
    single = windows.logits([whole])
    mirrored = (single + single[:, :, ::-1]) / 2
    expected = (mirrored + mirrored[..., ::-1]) / 2
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(single - expected).max() > 1e-3


def test_binary_heads_have_a_threshold(build_segmentor):
    head = dict(type='DNASHead', num_classes=2, out_channels=1, threshold=0.3, channels=8)
    assert binary_threshold(build_segmentor(head=head)) == 0.3
    assert binary_threshold(build_segmentor()) is None


def test_unsupported_precisions_are_refused(model):
    with pytest.raises(UserError, match="precision 'int8': choose float32, bfloat16, float16"):
        SegmentorWindows(model, 'int8')


class Strict(torch.nn.Module):
    """Network that supports only multiples of 16, and counts its forward passes."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor()
        self.dataset_meta = {}
        self.sizes = []

    def encode_decode(self, inputs, metas):
        height, width = inputs.shape[2:]
        self.sizes.append((height, width))
        assert height % 16 == width % 16 == 0
        return inputs[:, :1].float()


def test_networks_that_support_only_multiples_are_padded(rng):
    """Whether they do is tested once per remainder, with the smallest window."""
    model = Strict()
    windows = SegmentorWindows(model)
    for size in ((70, 64), (102, 128)):
        (image,) = images(rng, count=1, size=size)
        np.testing.assert_array_equal(windows.logits([image])[0, 0], image[0].numpy())
    assert model.sizes == [(38, 32), (96, 64), (128, 128)]
    windows.logits(images(rng, size=(48, 80)))
    assert model.sizes[3:] == [(48, 48), (48, 80)]


class Large(Strict):
    """Network that supports no side below 29 pixels, like SegFormer."""

    def encode_decode(self, inputs, metas):
        height, width = inputs.shape[2:]
        self.sizes.append((height, width))
        if min(height, width) < 29:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        return inputs[:, :1].float()


def test_windows_that_are_too_small_for_a_network_are_padded(rng):
    model = Large()
    windows = SegmentorWindows(model)
    for size in ((5, 3), (28, 70), (30, 31)):
        (image,) = images(rng, count=1, size=size)
        np.testing.assert_array_equal(windows.logits([image])[0, 0], image[0].numpy())
    assert model.sizes == [(5, 3), (32, 32), (28, 38), (32, 96), (30, 31), (30, 31)]

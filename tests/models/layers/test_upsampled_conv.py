import pytest
import torch
import torch.nn.functional as F

from dnas_mmseg.models.layers.upsampled_conv import convolve_upsampled


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(
    ('small', 'large', 'kernel', 'dilation'),
    [
        ((4, 4), (16, 16), 3, 1),
        ((7, 9), (31, 20), 3, 3),
        ((1, 1), (8, 9), 5, 1),
        ((1, 3), (2, 40), 3, 12),
        ((6, 6), (6, 6), 1, 1),
    ],
)
def test_equals_upsampling_then_convolution(small, large, kernel, dilation, align_corners):
    """Values, borders included, and both gradients."""
    x = torch.randn(2, 5, *small, requires_grad=True)
    weight = torch.randn(6, 5, kernel, kernel, requires_grad=True)
    upsampled = F.interpolate(x, large, mode='bilinear', align_corners=align_corners)
    reach = dilation * (kernel // 2)
    expected = F.conv2d(upsampled, weight, padding=reach, dilation=dilation)
    got = convolve_upsampled(x, large, weight, dilation=dilation, align_corners=align_corners)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(got, (x, weight), probe),
        torch.autograd.grad(expected, (x, weight), probe),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

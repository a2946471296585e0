import pytest
import torch
from torch import nn

from dnas_mmseg.models.layers.operation import (
    GlobalAveragePool,
    Operation,
    accept_single_values,
    conv_norm,
    sum_tensors,
)
from dnas_mmseg.spaces.dnas.operations import build_operation


@pytest.mark.parametrize('norm', [dict(type='GN', num_groups=4), dict(type='BN')])
def test_the_weight_gets_a_gradient_if_the_input_has_none(norm):
    """As in an architecture step, where torch's group norm would crash the process."""
    operation = build_operation('conv3x3', 4, 8, norm).requires_grad_(False)
    operation[1].weight.data.normal_()
    operation[1].bias.data.normal_()
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)
    weight = torch.tensor(0.3, requires_grad=True)
    out = operation(x, weight)
    plain = operation(x)
    torch.testing.assert_close(out, weight * plain)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    torch.testing.assert_close(gradient, plain.sum())


def test_a_sum_does_not_change_its_terms():
    """In-place addition only changes intermediate sums."""
    terms = [torch.full((2, 3), float(i)) for i in range(1, 5)]
    assert torch.equal(sum_tensors(terms), torch.full((2, 3), 10.0))
    assert [term[0, 0].item() for term in terms] == [1, 2, 3, 4]
    (only,) = terms[:1]
    assert sum_tensors([only]) is only


def test_batch_norms_normalise_single_values_by_running_statistics():
    norm, single = nn.BatchNorm2d(4), torch.randn(1, 4, 1, 1)
    norm.running_mean.normal_()
    accept_single_values(nn.Sequential(norm))
    expected = norm.eval()(single)
    assert not norm.training
    assert torch.equal(norm.train()(single), expected)
    assert norm.training
    assert norm.num_batches_tracked == 0
    assert norm(torch.randn(1, 4, 1, 2)).mean().abs() < 1e-6
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(('kernel', 'stride', 'dilation'), [(1, 1, 1), (3, 1, 5), (5, 2, 1)])
def test_a_convolution_only_changes_the_size_by_its_stride(kernel, stride, dilation):
    layers = conv_norm(2, 4, kernel, dict(type='BN'), stride=stride, dilation=dilation, groups=2)
    y = nn.Sequential(*layers)(torch.randn(2, 2, 11, 8))
    assert y.shape == (2, 4, -(-11 // stride), -(-8 // stride))
    assert layers[0].bias is None


def test_a_weight_per_channel_scales_the_channels():
    operation = Operation(*conv_norm(3, 4, 1, dict(type='BN')), nn.ReLU(), norm=1).eval()
    operation[1].bias.data.normal_()
    x, weights = torch.randn(2, 3, 5, 5), torch.tensor([0.0, 0.5, 1.0, 3.0])
    torch.testing.assert_close(operation(x, weights), weights.view(4, 1, 1) * operation(x))


def test_a_pooled_map_has_one_value_per_channel():
    pool = GlobalAveragePool(3, 4, dict(type='BN')).eval()
    x = torch.randn(2, 3, 6, 5)
    y = pool(x)
    assert y.shape == (2, 4, 6, 5)
    assert torch.equal(y, y[..., :1, :1].expand_as(y))
    torch.testing.assert_close(y, pool(x.flip(2, 3)))
    expected = pool[1](pool[0](x.mean((2, 3), keepdim=True))).relu()
    torch.testing.assert_close(y[..., :1, :1], expected)

import pytest
import torch

from dnas_mmseg.spaces.dnas.operations import OPERATIONS


@pytest.mark.parametrize('norm', [dict(type='GN', num_groups=4), dict(type='BN')])
def test_a_weight_gets_its_gradient_where_nothing_else_does(norm):
    """As in an architecture step; torch's own group norm crashes the process there."""
    operation = OPERATIONS['conv3x3'](4, 8, norm).requires_grad_(False)
    operation[1].weight.data.normal_()
    operation[1].bias.data.normal_()
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)
    weight = torch.tensor(0.3, requires_grad=True)
    out = operation(x, weight)
    plain = operation(x)
    torch.testing.assert_close(out, weight * plain)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    torch.testing.assert_close(gradient, plain.sum())

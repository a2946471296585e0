import pytest
import torch
from torch import nn

from dnas_mmseg.spaces.dnas.architecture import OPERATIONS as NAMES
from dnas_mmseg.spaces.dnas.operations import build_operation

NORM = dict(type='BN')


def test_names_and_order_equal_the_released_encodings():
    assert NAMES[:10] == (
        'conv1x1', 'conv3x3', 'conv3x3_dil3', 'conv3x3_dil12', 'sep_conv_3x3', 'sep_conv_5x5',
        'sep_conv_7x7', 'avg_pool_3x3', 'max_pool_3x3', 'global_average_pool',
    )  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [(9, 14), (2, 2), (1, 1)])
def test_operations_preserve_the_size_and_have_no_bias(name, size):
    operation = build_operation(name, 6, 10, NORM).eval()
    assert operation(torch.randn(2, 6, *size)).shape == (2, 10, *size)
    assert all(m.bias is None for m in operation.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ('name', 'radius'),
    [
        ('conv1x1', 0),
        ('conv3x3', 1),
        ('conv3x3_dil3', 3),
        ('conv3x3_dil12', 12),
        ('sep_conv_3x3', 1),
        ('sep_conv_5x5', 2),
        ('sep_conv_7x7', 3),
        ('avg_pool_3x3', 1),
        ('max_pool_3x3', 1),
        ('global_average_pool', 15),
    ],
)
def test_receptive_fields(name, radius):
    operation = build_operation(name, 1, 1, NORM).eval()
    for parameter in operation.parameters():
        nn.init.constant_(parameter, 1.0)
    flat = torch.zeros(1, 1, 31, 31)
    spot = flat.clone()
    spot[0, 0, 15, 15] = 1
    changed = (operation(spot) != operation(flat))[0, 0].nonzero()
    assert (changed - 15).abs().max().item() == radius


def test_average_pooling_does_not_count_padding():
    operation = build_operation('avg_pool_3x3', 1, 1, NORM).eval()
    nn.init.constant_(operation[0].weight, 1.0)
    pooled = operation(torch.ones(1, 1, 4, 4))
    torch.testing.assert_close(pooled, pooled[..., 1:2, 1:2].expand_as(pooled))

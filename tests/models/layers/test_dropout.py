import pytest
import torch

from dnas_mmseg.models.layers.dropout import Dropout


@pytest.mark.parametrize('p', [0.1, 0.5])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_it_drops_as_often_as_asked_and_keeps_the_mean(p, layout):
    x = torch.ones(2, 65, 63, 61).to(memory_format=layout).requires_grad_()
    y = Dropout(p)(x)
    share = (y == 0).double().mean().item()
    deviation = (p * (1 - p) / y.numel()) ** 0.5
    assert abs(share - p) < 5 * deviation + 2**-16
    assert torch.unique(y.detach()).tolist() == [0, pytest.approx(1 / (1 - p), rel=2**-15)]
    assert y.is_contiguous(memory_format=layout)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_neighbours_are_independent():
    """Elements of one draw, and those of neighbouring draws."""
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).double() - 0.5
    for lag in range(1, 9):
        correlation = 4 * (kept[lag:] * kept[:-lag]).mean().item()
        assert abs(correlation) < 5 / 400_000**0.5


def test_it_is_seeded():
    x = torch.ones(3, 7)
    torch.manual_seed(1)
    first = [Dropout(0.5)(x) for _ in range(2)]
    torch.manual_seed(1)
    again = [Dropout(0.5)(x) for _ in range(2)]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(*first)


def test_the_ends_and_evaluation():
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros_like(x))
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert Dropout(0.5)(x[:, :2]).shape == (5, 2)
    assert Dropout(0.5)(torch.ones(0, 4)).shape == (0, 4)

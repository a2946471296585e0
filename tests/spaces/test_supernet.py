"""Architecture parameters of supernets."""

import pytest
import torch
from torch import nn

from dnas_mmseg.spaces.supernet import architecture_gradients, architecture_parameter, softmax_over


def test_each_group_has_a_separate_softmax():
    logits = torch.randn(6, requires_grad=True)
    groups = [(4, 0), (1,), (5, 2, 3)]
    weights = softmax_over(groups, logits)
    for group in groups:
        expected = logits[list(group)].exp() / logits[list(group)].exp().sum()
        torch.testing.assert_close(weights[list(group)], expected)
    (gradient,) = torch.autograd.grad(weights[2], logits)
    assert gradient[[0, 1, 4]].tolist() == [0, 0, 0]  # other groups do not contribute
    assert (gradient[[2, 3, 5]] != 0).all()


def test_architecture_parameters_have_small_initial_values_and_are_frozen():
    parameter = architecture_parameter(50, 40)
    assert parameter.shape == (50, 40)
    assert parameter.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not parameter.requires_grad


def test_an_architecture_step_computes_no_other_gradients():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[1].bias.requires_grad_(False)  # frozen by the user
    model.alphas = architecture_parameter(3)
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    with pytest.raises(KeyError), architecture_gradients(model, [model.alphas]):
        (model(torch.randn(2, 3)) * model.alphas).sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is not None] == ['alphas']
        raise KeyError
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before

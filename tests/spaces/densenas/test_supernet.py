from itertools import pairwise

import numpy as np
import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.densenas.decoding import random_architecture
from dnas_mmseg.spaces.densenas.supernet import DenseNASSupernet

from .conftest import MBCONV, RESNET

SMALL = dict(
    widths=((4,), (6, 8), (10, 12), (14, 16), (18,)), strides=(2, 4, 8, 16, 32),
    depths=(0, 1, 2, 1, 0), window=3,
)  # fmt: skip


def published(space, **options):
    arguments = {key: value for key, value in space.items() if key != 'family'}
    return DenseNASSupernet(block=space['family'], **arguments, **options)


@pytest.mark.parametrize(
    ('space', 'final', 'parameters', 'scalars'),
    [(MBCONV, 1984, 90.43, 633), (RESNET, 512, 178.13, 397)],
    ids=['mbconv', 'resnet'],
)
def test_the_published_supernets(space, final, parameters, scalars):
    """As searched by the authors: 3 bands, a final convolution, 100 classes."""
    net = published(space, in_channels=3, final=final)
    weights = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert (weights + 100 * final + 100) / 1e6 == pytest.approx(parameters, abs=0.005)
    assert sum(p.numel() for p in net.architecture_parameters().values()) == scalars
    assert net.out_channels == (final,)


@pytest.mark.parametrize('block', ['mbconv', 'basic'])
@pytest.mark.parametrize('size', [(32, 32), (64, 64), (65, 97)])
def test_outputs_for_any_size_and_for_classification(block, size):
    net = DenseNASSupernet(block, **SMALL).train()
    outputs = net(torch.randn(2, 4, *size))
    assert net.out_channels == (8, 12, 16, 18)
    assert net.strides == (4, 8, 16, 32)
    for x, channels, stride in zip(outputs, net.out_channels, net.strides, strict=True):
        assert x.shape == (2, channels, *(-(-side // stride) for side in size))
    assert DenseNASSupernet(block, **SMALL, final=20)(torch.randn(1, 4, 32, 32))[0].shape == (
        1, 20, 1, 1,
    )  # fmt: skip


def test_one_active_operation_per_layer_for_weights_and_two_for_the_architecture():
    net = DenseNASSupernet(**SMALL).train()
    layers = [*net.heads, *net.layers]
    sampled = {}
    for step, number in (('weights', 1), ('architecture', 2)):
        for turn in range(2):
            net.sample(step, False, np.random.default_rng((7, 3)))
            assert all(len(set(layer.active)) == number for layer in layers)
            sampled[step, turn] = [layer.active for layer in layers]
    assert sampled['weights', 0] == sampled['weights', 1]  # equal generators
    net.sample('weights', False, np.random.default_rng((7, 4)))
    assert [layer.active for layer in layers] != sampled['weights', 0]


def test_operations_are_sampled_uniformly_at_first_and_then_by_probability():
    net = DenseNASSupernet(**SMALL)
    net.layer_alphas.data[:] = torch.linspace(0, 2, 7)
    rng = np.random.default_rng(0)
    for searching in (False, True):
        counts = np.zeros(7)
        for _ in range(600):
            net.sample('weights', searching, rng)
            for layer in net.layers:
                counts[layer.active[0]] += 1
        expected = net.layer_alphas[0].softmax(0).numpy() if searching else np.full(7, 1 / 7)
        assert counts / counts.sum() == pytest.approx(expected, abs=0.02)


def test_an_architecture_step_preserves_inactive_operations():
    """Both their parameters and their probabilities."""
    net = DenseNASSupernet(**SMALL, temperature=0.9).train()
    net.head_alphas.data.normal_()
    net.layer_alphas.data.normal_()
    net.sample('architecture', True, np.random.default_rng(0))
    parameters = net.architecture_parameters()
    for p in parameters.values():
        p.requires_grad_(True)
    loss = sum((y**2).mean() for y in net(torch.randn(2, 4, 64, 64)))
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    before = {name: p.detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        for p, gradient in zip(parameters.values(), gradients, strict=True):
            p -= 0.5 * gradient + 0.01  # as weight decay and momentum move everything
    net.after_architecture_step()
    for layers, name in ((net.heads, 'head_alphas'), (net.layers, 'layer_alphas')):
        old, new = before[name], parameters[name].detach()
        for row, layer in enumerate(layers):
            active = list(layer.active)
            rest = [i for i in range(old.shape[1]) if i not in active]
            assert torch.equal(new[row, rest], old[row, rest])
            assert not torch.equal(new[row, active], old[row, active])
            p_old, p_new = ((a[row] / 0.9).softmax(0) for a in (old, new))
            torch.testing.assert_close(p_new[rest], p_old[rest])
    assert not torch.equal(net.betas.detach(), before['betas'])


def test_outputs_of_a_certain_network_equal_those_of_its_blocks():
    """If the weights of a path and of its operations are close to 1."""
    net = DenseNASSupernet(**SMALL).eval()
    network = random_architecture(net.space, np.random.default_rng(1), 'sampled')
    net.betas.data.fill_(-60)
    path = net.space.path_of(network)
    for edge in pairwise((*path, net.space.end)):
        net.betas.data[net.space.trellis.edges.index(edge)] = 60
    for block, (source, target) in zip(network.blocks[1:], pairwise(path), strict=True):
        index = net.space.inner.index((source, target))
        net.head_alphas.data[index, list(net.heads[index]).index(block.head)] = 60
        for layer, name in enumerate(block.stack):
            index = net.space.layers.index((target, layer))
            net.layer_alphas.data[index, list(net.layers[index]).index(name)] = 60
    assert net.decode().blocks == network.blocks
    net.sample('weights', True, np.random.default_rng(0))
    x = torch.randn(1, 4, 64, 64)
    got = net(x)
    maps = {0: net.stem(x)}
    for source, target in pairwise(path):
        index = net.space.inner.index((source, target))
        y = list(net.heads[index].values())[net.head_alphas[index].argmax()](maps[source])
        for i, (owner, _) in enumerate(net.space.layers):
            if owner == target:
                y = list(net.layers[i].values())[net.layer_alphas[i].argmax()](y)
        maps[target] = y
    scale_of = [net.space.blocks[block].scale for block in path]
    for k, scale in enumerate(net.scales):
        last = max(i for i, s in enumerate(scale_of) if s == scale)
        expected = net.laterals[f'{scale}_{path[last]}'](maps[path[last]])
        torch.testing.assert_close(got[k], expected)


def test_recomputation_gives_the_same_gradients_and_statistics():
    net, again = (DenseNASSupernet(**SMALL, with_cp=cp).train() for cp in (False, True))
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 4, 64, 64)
    gradients = []
    for model in (net, again):
        for parameter in model.architecture_parameters().values():
            parameter.requires_grad_(True)
        model.sample('architecture', True, np.random.default_rng(0))
        sum((y**2).mean() for y in model(x)).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() >= {'betas', 'head_alphas', 'layer_alphas'}
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad, msg=name)
    for name, buffer in net.named_buffers():
        assert torch.equal(dict(again.named_buffers())[name], buffer), name


def test_invalid_arguments_raise():
    with pytest.raises(ArchitectureError, match=r'depths\[1\] = -1'):
        DenseNASSupernet(**{**SMALL, 'depths': (0, -1, 0, 0, 0)})
    with pytest.raises(UserError, match=r'out_indices = \(7,\): this space has 5 strides, 0 to 4'):
        DenseNASSupernet(**SMALL, out_indices=(7,))
    with pytest.raises(UserError, match='temperature = 0'):
        DenseNASSupernet(**SMALL, temperature=0)

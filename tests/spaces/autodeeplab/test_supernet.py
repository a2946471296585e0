import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.autodeeplab.architecture import OPERATIONS
from dnas_mmseg.spaces.autodeeplab.decoding import OPTIONS
from dnas_mmseg.spaces.autodeeplab.graph import pairs
from dnas_mmseg.spaces.autodeeplab.network import CONVOLUTIONS, build_operation
from dnas_mmseg.spaces.autodeeplab.supernet import AutoDeepLabSupernet, StateReader
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM, Node
from dnas_mmseg.spaces.supernet import softmax_over

from .conftest import supernet

NORM = dict(type='BN', eps=1e-3)


@pytest.mark.parametrize('size', [(64, 96), (65, 33)])
def test_outputs_at_all_strides_and_sizes(size):
    net = supernet()
    outputs = net(torch.randn(2, 4, *size))
    assert net.out_channels == (4, 8, 16, 32)
    assert net.strides == (4, 8, 16, 32)
    for x, channels, stride in zip(outputs, net.out_channels, net.strides, strict=True):
        assert x.shape == (2, channels, *(-(-side // stride) for side in size))


def test_the_published_space():
    """12 layers, 20 pairs of 8 options, strides 4 and 8 in layer 1."""
    net = AutoDeepLabSupernet()
    assert (net.alphas.shape, net.betas.shape) == ((20, 8), (105,))
    assert [node.scale for node in net.trellis.incoming if node.layer == 0] == [0, 1]
    assert net.out_channels == (40, 80, 160, 320)
    assert sum(d.kind == 'outgoing' for d in net.decisions) == 1 + 2 + 3 + 9 * 4
    for parameter in net.architecture_parameters().values():
        assert parameter.std() < 2e-3
        assert not parameter.requires_grad


def test_weights_of_outgoing_edges_sum_to_1():
    net = supernet()
    net.betas.data.normal_()
    weights = softmax_over(net.trellis.outgoing.values(), net.betas)
    outgoing = {}
    for (source, _), weight in zip(net.trellis.edges, weights, strict=True):
        outgoing.setdefault(source, []).append(weight)
    assert all(torch.stack(w).sum().item() == pytest.approx(1) for w in outgoing.values())
    for decision, p in zip(net.decisions, net.probabilities(), strict=True):
        if decision.kind == 'outgoing':
            assert p.tolist() == pytest.approx([w.item() for w in outgoing[decision.node]])


def test_the_nearest_output_two_layers_before_is_read():
    net = supernet()
    assert net._nearest(Node(0, 1)) is None  # the stem at stride 2, resized by 4
    assert net._nearest(Node(1, 2)) == STEM  # by 4
    assert net._nearest(Node(2, 3)) == Node(0, 1)  # by 4
    assert net._nearest(Node(3, 3)) == Node(1, 2)  # by 2
    assert net._nearest(Node(3, 1)) == Node(1, 1)


def test_concatenated_operations_equal_separate_ones():
    """In training, including gradients."""
    rows, channels = [1, 3, 6], 4
    reader = StateReader(rows, channels, NORM).train()
    for name, parameter in reader.named_parameters():
        if '.weight' in name and parameter.dim() == 1:
            parameter.data.uniform_(0.5, 1.5)
    weights = torch.rand(9, len(OPTIONS)).softmax(1).requires_grad_()
    x = torch.randn(3, channels, 7, 6, requires_grad=True)
    got = reader(x, weights)
    for i, (row, term) in enumerate(zip(rows, got, strict=True)):
        own = slice(i * channels, (i + 1) * channels)
        expected = 0
        for name, weight in zip(OPERATIONS, weights[row, :-1], strict=True):
            operation = build_operation(name, channels, 1, NORM).train()
            if name in CONVOLUTIONS:
                merged = reader.convolutions[name].state_dict()
                operation.load_state_dict({k: v[own] if v.dim() else v for k, v in merged.items()})
            expected = expected + weight * operation(x.relu() if name in CONVOLUTIONS else x)
        torch.testing.assert_close(term, expected)
        gradients = [
            torch.autograd.grad((y**2).sum(), (x, weights), retain_graph=True)
            for y in (term, expected)
        ]
        for mine, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_recomputation_gives_the_same_gradients_and_statistics():
    net = supernet().train()
    again = supernet(with_cp=True).train()
    again.load_state_dict(net.state_dict())
    x = torch.randn(2, 4, 32, 32)
    gradients = []
    for model in (net, again):
        for parameter in model.architecture_parameters().values():
            parameter.requires_grad_(True)
        sum((y**2).mean() for y in model(x)).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert all(grad is not None for grad in gradients[0].values())
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad, msg=name)
    for name, buffer in net.named_buffers():
        assert torch.equal(dict(again.named_buffers())[name], buffer), name


def test_parameters_of_the_published_network_decode_to_it():
    net = AutoDeepLabSupernet(filters=1)
    published = load_architecture('autodeeplab')
    net.betas.data.fill_(-30)
    net.alphas.data.fill_(-30)
    for edge in published.graph:
        net.betas.data[net.trellis.edges.index(edge)] = 30
    for branch, (operation,) in published.selected_operations.items():
        net.alphas.data[pairs(5).index(branch), OPTIONS.index(operation)] = 30
    found = net.decode()
    assert (found.path, found.cell) == (published.path, published.cell)


def test_invalid_arguments_raise():
    with pytest.raises(ArchitectureError, match='layers = 2: at least 3'):
        supernet(layers=2)
    with pytest.raises(UserError, match='filters = 0, blocks = 2: at least 1 each'):
        supernet(filters=0)
    with pytest.raises(UserError, match='has 3 bands, but AutoDeepLabSupernet has in_channels'):
        supernet()(torch.zeros(1, 3, 32, 32))

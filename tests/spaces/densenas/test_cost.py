"""Costs of networks of the space, and expected costs."""

import itertools

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.cost.table import CostError, CostTable
from dnas_mmseg.spaces.densenas.cost import (
    decoder_part,
    expected_cost,
    head_part,
    layer_part,
    network_cost,
)
from dnas_mmseg.spaces.densenas.decoding import random_architecture
from dnas_mmseg.spaces.densenas.graph import FAMILIES, dense_space, state_trellis
from dnas_mmseg.spaces.densenas.supernet import DenseNASSupernet, leave_weights

from .conftest import MBCONV, SCALES, all_paths, weights_of
from .test_supernet import SMALL


def test_expected_cost_is_the_mean_over_all_paths(space, table, rng):
    """By enumeration and by visit probabilities, including gradients (section 3.4)."""
    edges, heads, layers = weights = weights_of(space, rng)
    got = expected_cost(space, *weights, SCALES, table)
    head_names, layer_names = FAMILIES[space.family]
    head_means = {
        edge: sum(p * table[head_part(*edge, n)] for p, n in zip(row, head_names, strict=True))
        for edge, row in zip(space.inner, heads, strict=True)
    }
    stack_means = dict.fromkeys(range(len(space.blocks)), 0.0)
    for (block, _), row in zip(space.layers, layers, strict=True):
        for p, name in zip(row[:-1], layer_names[:-1], strict=True):  # a skip costs nothing
            stack_means[block] = stack_means[block] + p * table[layer_part(block, name)]
    weight = dict(zip(space.trellis.edges, edges, strict=True))
    total, chances, decoders = table['stem'], 0.0, 0.0
    visits = dict.fromkeys(range(len(space.blocks)), 0.0)
    for path in all_paths(space):
        chance = torch.stack([weight[e] for e in itertools.pairwise((*path, space.end))]).prod()
        cost = sum(head_means[e] + stack_means[e[1]] for e in itertools.pairwise(path))
        left = [a for a, b in itertools.pairwise(path) if space.node(a)[1] < space.node(b)[1]]
        left = [block for block in (*left, path[-1]) if space.node(block)[1] in SCALES]
        total = total + chance * (cost + table[decoder_part(left)])
        decoders = decoders + chance * table[decoder_part(left)]
        chances = chances + chance
        for block in path:
            visits[block] = visits[block] + chance
    assert chances.item() == pytest.approx(1)
    torch.testing.assert_close(got, total)
    by_visits = table['stem'] + decoders
    for (source, target), mean in head_means.items():
        by_visits = by_visits + visits[source] * weight[source, target] * mean
    by_visits = by_visits + sum(visits[block] * stack_means[block] for block in stack_means)
    torch.testing.assert_close(got, by_visits)
    mine = torch.autograd.grad(got, (heads, layers), retain_graph=True)
    for a, b in zip(mine, torch.autograd.grad(total, (heads, layers)), strict=True):
        torch.testing.assert_close(a, b)


def test_expected_cost_of_a_certain_network_is_its_cost(space, table, rng):
    for _ in range(10):
        network = random_architecture(space, rng, 'sampled')
        path = space.path_of(network)
        selected = set(itertools.pairwise((*path, space.end)))
        heads, layers = FAMILIES[space.family]
        edges = torch.tensor(
            [1.0 if e in selected else 1e-300 for e in space.trellis.edges]
        ).double()
        head_weights = torch.zeros(len(space.inner), len(heads)).double()
        layer_weights = torch.zeros(len(space.layers), len(layers)).double()
        for block, source in zip(network.blocks[1:], path, strict=False):
            target = path[path.index(source) + 1]
            head_weights[space.inner.index((source, target)), heads.index(block.head)] = 1
            for layer, name in enumerate(block.stack):
                layer_weights[space.layers.index((target, layer)), layers.index(name)] = 1
        edges = edges.clamp_min(1e-30)
        expected = expected_cost(space, edges, head_weights, layer_weights, SCALES, table)
        assert network_cost(space, network, SCALES, table) == pytest.approx(expected.item())


def test_paths_leave_every_scale_once(rng):
    space = dense_space(**MBCONV)
    edges = weights_of(space, rng)[0]
    leaves = leave_weights(space, edges)
    assert {s: sorted(space.blocks[i].width for i in row) for s, row in leaves.items()} == {
        -1: [16], 0: [24], 1: [32, 40, 48], 2: [96, 112, 128], 3: [320, 352, 384],
    }  # fmt: skip
    for row in leaves.values():
        assert sum(row.values()).item() == pytest.approx(1)


def test_a_space_without_stacks(rng):
    space = dense_space('basic', ((4,), (6, 8), (10,)), (2, 4, 8), (0, 0, 0), 3)
    values = {head_part(*edge, 'basic'): rng.random() for edge in space.inner} | {'stem': 1.0}
    values |= {decoder_part(after.left): 2.0 for _, after in state_trellis(space, SCALES).edges}
    table = CostTable('macs', {}, values)
    expected = expected_cost(space, *weights_of(space, rng), SCALES, table)
    sampled = [network_cost(space, random_architecture(space, rng, 'x'), SCALES, table)
             for _ in range(20)]  # fmt: skip
    assert min(sampled) <= expected.item() <= max(sampled)


SIZE = (96, 80)
LOSS = dict(type='LabelledCrossEntropyLoss')


def network(architecture, **backbone):
    """Config of the segmentor of the searched network."""
    return dict(
        type='SearchedEncoderDecoder',
        backbone=dict(type='DenseNAS', architecture=architecture, **backbone),
        decode_head=dict(
            type='DepthwiseSeparableASPPHead', channels=8, dilations=(1, 2), c1_channels=4,
            num_classes=5, loss_decode=LOSS,
        ),
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip


@pytest.mark.parametrize('block', ['mbconv', 'basic'])
@pytest.mark.parametrize('output_stride', [8, 32])
def test_cost_of_a_network_is_the_sum_of_its_parts(block, output_stride):
    net = DenseNASSupernet(block, **{**SMALL, 'window': 1})
    model = network(net.decode(), output_stride=output_stride)
    metrics = ('macs', 'params')
    tables = {metric: cost_table(net.parts(model, SIZE), metric) for metric in metrics}
    for seed in range(3):
        architecture = random_architecture(net.space, np.random.default_rng(seed), 'sampled')
        model = network(architecture, output_stride=output_stride)
        whole = MODELS.build(model).eval()
        counted = count(whole, whole, (1, 4, *SIZE))
        for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
            assert net.cost_model(tables[metric]).cost(architecture) == value


def test_tables_of_other_connections_are_refused(tmp_path):
    far, near = (DenseNASSupernet(**{**SMALL, 'window': window}) for window in (3, 1))
    facts = [net.parts(network(net.decode()), SIZE).facts for net in (far, near)]
    CostTable('latency', facts[1], {}).save(tmp_path / 'near.json')
    CostTable.load(tmp_path / 'near.json', facts[1])
    with pytest.raises(CostError, match=r'is a table of other settings \(edges: '):
        CostTable.load(tmp_path / 'near.json', facts[0])


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_decoding_to_a_target(metric):
    net = DenseNASSupernet(**SMALL)
    costs = net.cost_model(cost_table(net.parts(network(net.decode()), SIZE), metric))
    least, most = costs.range()
    for target in np.geomspace(1.2 * least, most / 1.2, 4):
        assert costs.cost(costs.decode_to(target)) == pytest.approx(target, rel=0.1)

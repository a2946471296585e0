"""Costs of the three supernets' networks: of parts, expected, and decoded to a target."""

import itertools

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS
from dnas_mmseg.spaces.dnas.cost import network_cost, path_edge_costs
from dnas_mmseg.spaces.dnas.decoding import decode_connections, random_architecture

SIZE = (96, 80)
HEAD = dict(
    type='DNASHead', channels=8, num_classes=5, loss_decode=dict(type='LabelledCrossEntropyLoss')
)


def segmentor(backbone):
    return dict(
        type='SearchedEncoderDecoder', backbone=dict(backbone, base_channels=4), decode_head=HEAD,
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip


def supernet(layers=4, **backbone):
    model = segmentor(backbone or dict(type='DNASPathSupernet', layers=layers))
    return MODELS.build(model['backbone']), model


@pytest.fixture(scope='module')
def tables():
    net, model = supernet()
    return {metric: cost_table(net.parts(model, SIZE), metric) for metric in ('macs', 'params')}


@pytest.mark.parametrize('head', [HEAD, dict(HEAD, type='FCNHead', in_index=-1, num_convs=1)])
@pytest.mark.parametrize('seed', range(3))
def test_a_network_costs_what_its_parts_do(head, seed):
    """Exactly, whatever the head; the sizes are odd at the coarser scales."""
    architecture = random_architecture(6, np.random.default_rng(seed), 'x')
    net, model = supernet(layers=6)
    model['decode_head'] = head
    whole = MODELS.build(
        {**model, 'backbone': dict(type='DNAS', architecture=architecture, base_channels=4)}
    ).eval()
    counted = count(whole, whole, (1, 4, *SIZE))
    for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
        assert network_cost(architecture, cost_table(net.parts(model, SIZE), metric)) == value


def test_the_path_stages_expectation_is_that_of_its_decode_weights(tables):
    net, _ = supernet()
    net.betas.data.normal_()
    lattice, table = net.architecture, tables['macs']
    weights = net.edge_weights(net.betas.double())
    by_edge = [w for spec in lattice.nodes for w in weights[spec.node]]
    costs = path_edge_costs(lattice, table)
    index = {edge: i for i, edge in enumerate(lattice.edges)}
    chances, sums, paths = [], [], []
    for scales in itertools.product((0,), range(2), range(3), range(4)):
        nodes = [lattice.edges[0][0], *((i, s) for i, s in enumerate(scales))]
        path = [index.get((a, b)) for a, b in itertools.pairwise(nodes)]
        if None not in path:
            chances.append(torch.stack([by_edge[i] for i in path]).prod())
            sums.append(sum(costs[i] for i in path))
            paths.append(scales)
    chances = torch.stack(chances)
    expected = (chances * torch.tensor(sums)).sum() / chances.sum()
    torch.testing.assert_close(net.expected_cost(table), expected.double())
    assert net.decode().path == paths[int(chances.argmax())]  # the mode


def test_the_connection_stages_expectation_is_that_of_its_gates(tables):
    path = random_architecture(4, np.random.default_rng(2), 'p').at_level('path')
    net, _ = supernet(type='DNASConnectionSupernet', architecture=path)
    net.betas.data.normal_()
    table, lattice = tables['macs'], net.architecture
    free = [i for i, core in enumerate(net.is_core) if not core]
    gates = net.betas.sigmoid()
    total = 0.0
    for kept in itertools.product((False, True), repeat=len(free)):
        mask, chance = [True] * len(lattice.edges), 1.0
        for i, k in zip(free, kept, strict=True):
            mask[i], chance = k, chance * float(gates[i] if k else 1 - gates[i])
        # Before liveness: every kept edge counts, and every node of the last layer that has one.
        cells = sum(
            3 * np.mean([table[f'cell/{a.scale}>{b.scale}/{o}'] for o in OPERATIONS])
            for (a, b), k in zip(lattice.edges, mask, strict=True)
            if k
        )
        ends = {
            b.scale for (_, b), k in zip(lattice.edges, mask, strict=True) if k and b.layer == 3
        }
        head = table['head/' + ','.join(map(str, sorted(ends)))]
        total += chance * (table['stem'] + cells + head)
    assert float(net.expected_cost(table)) == pytest.approx(total, rel=1e-6)


def test_the_cell_stages_expectation_is_that_of_three_draws(tables):
    connected = random_architecture(4, np.random.default_rng(2), 'p').at_level('connection')
    net, _ = supernet(type='DNASCellSupernet', architecture=connected)
    net.alphas.data.normal_()
    table = tables['macs']
    rows = net.alphas.double().softmax(1).numpy()
    total = network_cost(connected, table, 'mean')
    for spec, p in zip(net.architecture.nodes, rows, strict=True):
        costs = [sum(table[f'cell/{s.scale}>{spec.node.scale}/{o}'] for s in spec.inputs)
                 for o in OPERATIONS]  # fmt: skip
        mean = 0.0
        for i, j, k in itertools.permutations(range(10), 3):
            chance = p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j])
            mean += chance * (costs[i] + costs[j] + costs[k])
        total += mean - 3 * np.mean(costs)
    assert float(net.expected_cost(table)) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_every_stage_decodes_to_a_target(metric, rng):
    """From undecided parameters, for targets far apart, to real networks."""
    path_net, model = supernet(layers=8)
    table = cost_table(path_net.parts(model, (128, 128)), metric)
    paths = path_net.cost_model(table)
    least, most = paths.range()
    for target in np.geomspace(4 * least, most / 6, 4):
        path = paths.decode_to(target)
        low, high = (network_cost(path, table, bound) for bound in ('least', 'most'))
        assert low <= target <= high
        connections, _ = supernet(type='DNASConnectionSupernet', architecture=path)
        connected = connections.cost_model(table).decode_to(target)
        cells, _ = supernet(type='DNASCellSupernet', architecture=connected)
        found = cells.cost_model(table).decode_to(target)
        assert abs(network_cost(found, table) / target - 1) < 0.1


def test_a_network_can_keep_to_a_part_of_the_supernet(tables):
    path = random_architecture(6, np.random.default_rng(3), 'p').at_level('path')
    connections, _ = supernet(type='DNASConnectionSupernet', architecture=path)
    lattice = connections.architecture
    small = decode_connections(lattice, [False] * len(lattice.edges))
    large = decode_connections(lattice, [True] * len(lattice.edges))
    both = small.union(large)
    assert set(both.edges) == set(small.edges) | set(large.edges)
    cells, _ = supernet(type='DNASCellSupernet', architecture=both)
    found = cells.cost_model(tables['macs']).within(small).decode()
    assert set(found.edges) <= set(small.edges)
    rows = {spec.node: i for i, spec in enumerate(cells.architecture.nodes)}
    for node, _, operations in found.nodes:
        best = np.sort(np.argsort(-cells.alphas[rows[node]].numpy(), kind='stable')[:3])
        assert operations == tuple(np.array(OPERATIONS)[best])

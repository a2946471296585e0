"""Costs of networks of all levels, and cost models of the supernets."""

import itertools

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS
from dnas_mmseg.spaces.dnas.cost import cost_range, head_part, network_cost, path_edge_costs
from dnas_mmseg.spaces.dnas.decoding import (
    connection_lattice,
    core_edges,
    decode_connections,
    path_lattice,
    random_architecture,
)
from dnas_mmseg.spaces.registry import load_architecture


@pytest.fixture
def table(rng):
    values = {'stem': rng.random()}
    for a, b in itertools.product(range(4), range(4)):
        values[f'resize/{a}>{b}'] = 0.1 * rng.random()
    for a, b, operation in itertools.product(range(4), range(4), OPERATIONS):
        values[f'cell/{a}>{b}/{operation}'] = rng.random()
    for size in range(1, 5):
        for scales in itertools.combinations(range(4), size):
            values[head_part(scales)] = 3 * rng.random()
    return CostTable('macs', {'space': 'dnas'}, values)


def all_paths(lattice):
    """All paths, as indices of edges."""
    into = {}
    for i, (source, target) in enumerate(lattice.edges):
        into.setdefault(target, []).append((source, i))

    def paths_to(node):
        if node.layer < 0:
            yield ()
        for source, i in into.get(node, ()):
            for path in paths_to(source):
                yield (*path, i)

    return [path for end in lattice.outputs for path in paths_to(end)]


def test_an_undecided_network_costs_the_mean_of_its_completions(table, rng):
    """By enumeration of all edges and triples of operations of a small network."""
    path = random_architecture(4, np.random.default_rng(2), 'p').at_level('path')
    lattice = connection_lattice(path)
    triples = list(itertools.combinations(OPERATIONS, 3))
    # Nodes are independent, so the mean over a node's triples applies to each of its edges.
    core, total, count = core_edges(path.path), 0.0, 0
    free = [edge for edge in lattice.edges if edge not in core]
    for flags in itertools.product((0, 1), repeat=len(free)):
        edges = core | {edge for edge, flag in zip(free, flags, strict=True) if flag}
        cells = sum(
            np.mean([sum(table[f'cell/{a.scale}>{b.scale}/{o}'] for o in t) for t in triples])
            + (table[f'resize/{a.scale}>{b.scale}'] if a.scale != b.scale else 0)
            for a, b in edges
        )
        outputs = {b.scale for _, b in edges if b.layer == 3}
        total += table['stem'] + cells + table[head_part(outputs)]
        count += 1
    assert network_cost(path, table) == pytest.approx(total / count)
    for _ in range(20):
        network = random_architecture(4, rng, 'x')
        if network.path == path.path:
            least, most = (network_cost(path, table, c) for c in ('least', 'most'))
            assert least <= network_cost(network, table) <= most


def test_contributions_of_edges_sum_to_the_mean_cost_of_all_paths(table):
    lattice = path_lattice(5)
    costs = np.array(path_edge_costs(lattice, table))
    indices = all_paths(lattice)
    paths = [tuple(lattice.edges[i][1].scale for i in path) for path in indices]
    document = dict(format=1, space='dnas', level='path', name='p', layers=5, nodes=[])
    exact = [network_cost(load_architecture({**document, 'path': p}), table) for p in paths]
    sums = [costs[list(path)].sum() for path in indices]
    assert np.mean(sums) == pytest.approx(np.mean(exact))
    assert np.corrcoef(sums, exact)[0, 1] > 0.9
    least, most = cost_range(5, table)
    assert least < min(exact)
    assert most > max(exact)


def test_dead_parts_of_a_network_cost_nothing(table):
    path = load_architecture('dnas_l12_gid5@path')
    lattice = connection_lattice(path)
    core = decode_connections(lattice, [False] * len(lattice.edges))
    assert network_cost(core, table) < network_cost(path, table)
    l14 = load_architecture('dnas_l14_gid5')
    assert network_cost(l14, table) == network_cost(l14.pruned(), table)


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
def test_cost_of_a_network_is_the_sum_of_its_parts(head, seed):
    """Exact for any head; sizes are odd at the coarser scales."""
    architecture = random_architecture(6, np.random.default_rng(seed), 'x')
    net, model = supernet(layers=6)
    model['decode_head'] = head
    whole = MODELS.build(
        {**model, 'backbone': dict(type='DNAS', architecture=architecture, base_channels=4)}
    ).eval()
    counted = count(whole, whole, (1, 4, *SIZE))
    for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
        assert network_cost(architecture, cost_table(net.parts(model, SIZE), metric)) == value


def test_expected_cost_of_the_path_stage(tables):
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


def test_expected_cost_of_the_connection_stage(tables):
    path = random_architecture(4, np.random.default_rng(2), 'p').at_level('path')
    net, _ = supernet(type='DNASConnectionSupernet', architecture=path)
    net.betas.data.normal_()
    table, lattice = tables['macs'], net.architecture
    free = [i for i, core in enumerate(net.is_core) if not core]
    gates = net.betas.sigmoid()
    total = 0.0
    for flags in itertools.product((False, True), repeat=len(free)):
        mask, chance = [True] * len(lattice.edges), 1.0
        for i, k in zip(free, flags, strict=True):
            mask[i], chance = k, chance * float(gates[i] if k else 1 - gates[i])
        # Dead edges count, and all nodes of the last layer that have an edge.
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


def test_expected_cost_of_the_cell_stage(tables):
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
        for i, j, k in itertools.permutations(range(len(OPERATIONS)), 3):
            chance = p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j])
            mean += chance * (costs[i] + costs[j] + costs[k])
        total += mean - 3 * np.mean(costs)
    assert float(net.expected_cost(table)) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_every_stage_decodes_to_a_target(metric, rng):
    """From initial parameters, for a wide range of targets."""
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


def test_decoding_within_a_part_of_the_supernet(tables):
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

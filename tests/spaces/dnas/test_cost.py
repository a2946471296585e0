"""What networks cost by a table, decided or not."""

import itertools

import numpy as np
import pytest

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
    """Every path as indices of its edges."""
    into = {}
    for i, (source, target) in enumerate(lattice.edges):
        into.setdefault(target, []).append((source, i))

    def ways(node):
        if node.layer < 0:
            yield ()
        for source, i in into.get(node, ()):
            for way in ways(source):
                yield (*way, i)

    return [way for end in lattice.outputs for way in ways(end)]


def test_an_undecided_network_costs_the_mean_of_its_completions(table, rng):
    """Edges kept or not, operations drawn three at a time: all of them, of a small network."""
    path = random_architecture(4, np.random.default_rng(2), 'p').at_level('path')
    lattice = connection_lattice(path)
    triples = list(itertools.combinations(OPERATIONS, 3))
    # Nodes choose independently, so a node's mean over triples is the mean of each edge.
    core, total, count = core_edges(path.path), 0.0, 0
    free = [edge for edge in lattice.edges if edge not in core]
    for kept in itertools.product((0, 1), repeat=len(free)):
        edges = core | {edge for edge, yes in zip(free, kept, strict=True) if yes}
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
        drawn = random_architecture(4, rng, 'x')
        if drawn.path == path.path:
            least, most = (network_cost(path, table, c) for c in ('least', 'most'))
            assert least <= network_cost(drawn, table) <= most


def test_the_mean_network_of_all_paths_is_what_their_edges_bring(table):
    """Over evenly probable paths, the edges' shares add up to the mean cost of the completions."""
    lattice = path_lattice(5)
    costs = np.array(path_edge_costs(lattice, table))
    ways = all_paths(lattice)
    paths = [tuple(lattice.edges[i][1].scale for i in way) for way in ways]
    document = dict(format=1, space='dnas', level='path', name='p', layers=5, nodes=[])
    real = [network_cost(load_architecture({**document, 'path': p}), table) for p in paths]
    shared = [costs[list(way)].sum() for way in ways]
    assert np.mean(shared) == pytest.approx(np.mean(real))
    assert np.corrcoef(shared, real)[0, 1] > 0.9
    least, most = cost_range(5, table)
    assert least < min(real)
    assert most > max(real)


def test_dead_parts_of_a_network_cost_nothing(table):
    path = load_architecture('dnas_l12_gid5@path')
    lattice = connection_lattice(path)
    nothing = decode_connections(lattice, [False] * len(lattice.edges))
    assert network_cost(nothing, table) < network_cost(path, table)
    l14 = load_architecture('dnas_l14_gid5')
    assert network_cost(l14, table) == network_cost(l14.pruned(), table)

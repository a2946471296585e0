import itertools
import json

import numpy as np
import pytest
import torch

from dnas_mmseg.cost.table import (
    CostError,
    CostTable,
    drawn_probabilities,
    expected_path_cost,
    format_cost,
    meet_target,
    require_reachable,
)
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


def test_the_expected_cost_of_a_path_is_that_of_enumeration(rng):
    lattice = path_lattice(6)
    weights = torch.from_numpy(rng.random(len(lattice.edges))).requires_grad_()
    costs = rng.random(len(lattice.edges))
    got = expected_path_cost(lattice.edges, weights.unbind(), costs, lattice.outputs)
    paths = all_paths(lattice)
    chances = torch.stack([weights[list(path)].prod() for path in paths])
    expected = (chances / chances.sum() * torch.tensor([costs[list(p)].sum() for p in paths])).sum()
    torch.testing.assert_close(got, expected)
    (gradient,) = torch.autograd.grad(got, weights)
    (reference,) = torch.autograd.grad(expected, weights)
    torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize('draws', [1, 2, 3])
def test_drawing_without_replacement_is_that_of_enumeration(rng, draws):
    p = rng.random((2, 5))
    p /= p.sum(1, keepdims=True)
    expected = np.zeros_like(p)
    for row in range(2):
        for order in itertools.permutations(range(5), draws):
            chance, left = 1.0, 1.0
            for i in order:
                chance, left = chance * p[row, i] / left, left - p[row, i]
            expected[row, list(order)] += chance
    got = drawn_probabilities(torch.from_numpy(p), draws)
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(got.sum(1), draws)


def test_a_certain_draw_stays_finite():
    logits = torch.tensor([[60.0, 30.0, 0.0, 0.0, 0.0]], dtype=torch.double, requires_grad=True)
    drawn = drawn_probabilities(logits.softmax(1), 3)
    np.testing.assert_allclose(drawn.detach()[0], [1, 1, 1 / 3, 1 / 3, 1 / 3], atol=1e-6)
    (gradient,) = torch.autograd.grad(drawn[0, 2], logits)
    assert gradient.isfinite().all()


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


def test_a_target_is_met_at_the_smallest_price(rng):
    scores, costs = rng.normal(size=60), rng.random(60)

    def decode(price):
        return scores - price * costs > 0

    def cost(chosen):
        return costs[chosen].sum()

    # Thresholds come one by one: no price in between does better.
    reachable = [cost(decode(price)) for price in np.linspace(-60, 60, 200_001)]
    for target in (3.0, 8.0, 25.0):
        met = cost(meet_target(lambda price, t=target: decode(price / t), cost, target))
        best = min(abs(np.log(c / target)) for c in reachable if c > 0)
        assert abs(np.log(met / target)) <= max(best, 0.01) + 1e-9
    assert (meet_target(decode, cost, cost(decode(0.0))) == decode(0.0)).all()
    assert meet_target(decode, lambda c: cost(c) + 1e-9, 1e6).all()  # nothing costs more


def test_tables_say_what_they_hold_for(tmp_path, table):
    table.save(tmp_path / 't.json')
    loaded = CostTable.load(tmp_path / 't.json', {'space': 'dnas'})
    assert (loaded.metric, loaded.values) == (table.metric, table.values)
    with pytest.raises(CostError, match=r'does not hold here \(space: dnas, here other\)'):
        CostTable.load(tmp_path / 't.json', {'space': 'other'})
    with pytest.raises(CostError, match='no such table; measure_latency'):
        CostTable.load(tmp_path / 'none.json', {})
    (tmp_path / 't.json').write_text(json.dumps({'metric': 'macs'}))
    with pytest.raises(CostError, match='is no cost table'):
        CostTable.load(tmp_path / 't.json', {})


def test_a_target_out_of_reach_names_the_range():
    with pytest.raises(
        CostError, match=r'target 50 M multiply-adds: what can .* costs 100 M .* to 2 G'
    ):
        require_reachable(5e7, 1e8, 2e9, 'macs')
    assert format_cost(0.0123, 'latency') == '12.3 ms'


def test_dead_parts_of_a_network_cost_nothing(table):
    path = load_architecture('dnas_l12_gid5@path')
    lattice = connection_lattice(path)
    nothing = decode_connections(lattice, [False] * len(lattice.edges))
    assert network_cost(nothing, table) < network_cost(path, table)
    l14 = load_architecture('dnas_l14_gid5')
    assert network_cost(l14, table) == network_cost(l14.pruned(), table)

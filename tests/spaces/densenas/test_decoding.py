import itertools

import pytest
import torch

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.densenas.cost import (
    decoder_part,
    expected_cost,
    head_part,
    layer_part,
    leave_weights,
    network_cost,
)
from dnas_mmseg.spaces.densenas.decoding import build, decode, random_architecture
from dnas_mmseg.spaces.densenas.graph import FAMILIES, dense_space, step_trellis
from dnas_mmseg.spaces.registry import load_architecture

MBCONV = dict(
    family='mbconv',
    widths=((16,), (24,), (32, 40, 48), (56, 64, 72), (96, 112, 128), (160, 176, 192),
            (320, 352, 384)),
    strides=(2, 4, 8, 16, 16, 32, 32), depths=(0, 3, 3, 3, 3, 3, 0), window=4,
)  # fmt: skip
RESNET = dict(
    family='basic',
    widths=((32,), (48, 56, 64), (72, 96, 112), (128, 144, 160, 176), (192, 208, 224),
            (240, 256, 272, 288), (480, 496, 512)),
    strides=(2, 4, 8, 16, 16, 32, 32), depths=(0, 0, 5, 15, 5, 5, 1), window=10,
)  # fmt: skip
SMALL = dict(
    family='mbconv', widths=((4,), (6, 8), (10, 12), (14, 16)), strides=(2, 4, 8, 8),
    depths=(0, 1, 2, 0), window=3,
)  # fmt: skip
SCALES = (0, 1)


def all_paths(space):
    """Every path of blocks, by walking the edges."""

    def ways(block):
        for source, target in space.trellis.edges:
            if source == block:
                for rest in [()] if target == space.end else ways(target):
                    yield (block, *rest)

    return list(ways(0))


def weights_of(space, rng):
    """Random weights of edges, head and stack operations."""
    edges = torch.zeros(len(space.trellis.edges)).double()
    for indices in space.trellis.outgoing.values():
        edges[indices] = torch.from_numpy(rng.standard_normal(len(indices))).softmax(0)
    heads, layers = FAMILIES[space.family]
    rows = (
        torch.from_numpy(rng.standard_normal(shape)).softmax(1)
        for shape in ((len(space.inner), len(heads)), (len(space.layers), len(layers)))
    )
    return edges.requires_grad_(), *(p.requires_grad_() for p in rows)


@pytest.fixture
def space():
    return dense_space(**SMALL)


@pytest.fixture
def table(space, rng):
    heads, layers = FAMILIES[space.family]
    values = {'stem': rng.random()}
    values |= {head_part(*edge, name): rng.random() for edge in space.inner for name in heads}
    values |= {
        layer_part(block, name): rng.random() for block, _ in space.layers for name in layers[:-1]
    }
    for _, after in step_trellis(space, SCALES).edges:
        values[decoder_part(after.left)] = 5 * rng.random()
    return CostTable('macs', {'space': 'densenas'}, values)


@pytest.mark.parametrize(
    ('arguments', 'blocks', 'paths', 'scalars'),
    [(MBCONV, 17, 15_456, 633), (RESNET, 21, 540_225, 397)],
    ids=['mbconv', 'resnet'],
)
def test_the_published_spaces(arguments, blocks, paths, scalars):
    space = dense_space(**arguments)
    assert len(space.blocks) == blocks
    assert len(all_paths(space)) == paths
    heads, layers = FAMILIES[space.family]
    own = len(space.trellis.edges) + len(space.inner) * len(heads) + len(space.layers) * len(layers)
    assert own == scalars


def test_decoding_agrees_with_brute_force(space, rng):
    heads, layers = FAMILIES[space.family]
    for _ in range(20):
        edges, head_weights, layer_weights = (w.detach() for w in weights_of(space, rng))
        scores = [w.log().numpy() for w in (edges, head_weights, layer_weights)]
        found = decode(space, *scores)
        score = dict(zip(space.trellis.edges, scores[0], strict=True))
        best = max(
            all_paths(space),
            key=lambda path: sum(score[e] for e in itertools.pairwise((*path, space.end))),
        )
        assert space.walk_of(found) == list(best)
        for source, block in zip(best, found.blocks[1:], strict=False):
            target = best[best.index(source) + 1]
            row = scores[1][space.inner.index((source, target))]
            assert block.head == heads[row.argmax()]
            rows = [scores[2][i] for i, (owner, _) in enumerate(space.layers) if owner == target]
            assert block.stack == tuple(layers[row.argmax()] for row in rows)
        assert 'skip' not in str(found.pruned().blocks)


def test_the_chained_estimation_is_the_mean_over_all_paths(space, table, rng):
    """By enumeration and by visit probabilities, gradients too (section 3.4)."""
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
        left = [a for a, b in itertools.pairwise(path) if space.place(a)[1] < space.place(b)[1]]
        left = [block for block in (*left, path[-1]) if space.place(block)[1] in SCALES]
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


def test_a_certain_network_costs_what_the_expectation_says(space, table, rng):
    for _ in range(10):
        drawn = random_architecture(space, rng, 'drawn')
        path = space.walk_of(drawn)
        chosen = set(itertools.pairwise((*path, space.end)))
        heads, layers = FAMILIES[space.family]
        edges = torch.tensor([1.0 if e in chosen else 1e-300 for e in space.trellis.edges]).double()
        head_weights = torch.zeros(len(space.inner), len(heads)).double()
        layer_weights = torch.zeros(len(space.layers), len(layers)).double()
        for block, source in zip(drawn.blocks[1:], path, strict=False):
            target = path[path.index(source) + 1]
            head_weights[space.inner.index((source, target)), heads.index(block.head)] = 1
            for layer, name in enumerate(block.stack):
                layer_weights[space.layers.index((target, layer)), layers.index(name)] = 1
        edges = edges.clamp_min(1e-30)
        expected = expected_cost(space, edges, head_weights, layer_weights, SCALES, table)
        assert network_cost(space, drawn, SCALES, table) == pytest.approx(expected.item())


def test_with_a_price_no_other_path_is_better(space, table, rng):
    weights = weights_of(space, rng)
    scores = [w.detach().log().numpy() for w in weights]
    score = dict(zip(space.trellis.edges, scores[0], strict=True))
    costs = []
    for price in (-2.0, 0.0, 0.5, 5.0, 100.0):
        found = decode(space, *scores, 0, SCALES, price, table)
        walk = itertools.pairwise(space.walk_of(found))
        specs = dict(zip(walk, found.blocks[1:], strict=True))
        value = sum(score[e] for e in itertools.pairwise((*space.walk_of(found), space.end)))
        value -= price * network_cost(space, found, SCALES, table)
        for path in all_paths(space):
            edges = list(itertools.pairwise(path))
            if all(e in specs for e in edges):
                heads = [specs[e].head for e in edges]
                stacks = [specs[e].stack for e in edges]
                other = build(space, path, heads, stacks, 'other')
                gain = sum(score[e] for e in itertools.pairwise((*path, space.end)))
                gain -= price * network_cost(space, other, SCALES, table)
                assert gain <= value + 1e-9
        costs.append(network_cost(space, found, SCALES, table))
    assert costs == sorted(costs, reverse=True)


def test_paths_leave_every_scale_once(rng):
    space = dense_space(**MBCONV)
    edges = weights_of(space, rng)[0]
    leaves = leave_weights(space, edges)
    assert {s: sorted(space.blocks[i].width for i in row) for s, row in leaves.items()} == {
        -1: [16], 0: [24], 1: [32, 40, 48], 2: [96, 112, 128], 3: [320, 352, 384],
    }  # fmt: skip
    for row in leaves.values():
        assert sum(row.values()).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(family='vgg'), "block 'vgg' is unknown; there are mbconv, basic"),
        (dict(strides=(2, 4, 8)), 'given for 4, 3 and 4 stages'),
        (dict(widths=((4, 5), (6,), (10,), (14,))), r'the first stage is the stem: widths\[0\]'),
        (dict(widths=((4,), (8, 6), (10,), (14,))), r'widths\[1\] = \[8, 6\]: one or more growing'),
        (dict(widths=((4,), (), (10,), (14,))), r'widths\[1\] = \[\]: one or more growing'),
        (dict(strides=(2, 8, 8, 8)), r'strides\[1\] = 8 after 2: the same or twice'),
        (dict(strides=(2, 4, 8, 4)), r'strides\[3\] = 4 after 8'),
        (dict(depths=(0, 1, -1, 0)), r'depths\[2\] = -1'),
        (dict(window=0), 'window = 0'),
        (dict(widths=((4,), (6,), (10,), (10,))), r'widths\[3\] has 10, which an earlier stage'),
    ],
)
def test_spaces_that_cannot_be(changes, message):
    """Said by entry, before anything is built."""
    with pytest.raises(ArchitectureError, match=message):
        dense_space(**{**SMALL, **changes})


def test_the_published_networks_are_in_the_published_space():
    space = dense_space(**MBCONV)
    paths = set(all_paths(space))
    for name in ('densenas_a', 'densenas_b', 'densenas_c'):
        assert tuple(space.walk_of(load_architecture(name))) in paths
    with pytest.raises(ArchitectureError, match=r'block of width 24 at stride 4 is not in this'):
        dense_space(**SMALL).walk_of(load_architecture('densenas_a'))


def test_a_space_without_stacks(rng):
    space = dense_space('basic', ((4,), (6, 8), (10,)), (2, 4, 8), (0, 0, 0), 3)
    values = {head_part(*edge, 'basic'): rng.random() for edge in space.inner} | {'stem': 1.0}
    values |= {decoder_part(after.left): 2.0 for _, after in step_trellis(space, SCALES).edges}
    table = CostTable('macs', {}, values)
    expected = expected_cost(space, *weights_of(space, rng), SCALES, table)
    drawn = [network_cost(space, random_architecture(space, rng, 'x'), SCALES, table)
             for _ in range(20)]  # fmt: skip
    assert min(drawn) <= expected.item() <= max(drawn)

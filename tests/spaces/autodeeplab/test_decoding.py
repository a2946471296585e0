import itertools

import numpy as np
import pytest
import torch

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.autodeeplab.architecture import OPERATIONS, AutoDeepLabArchitecture, Branch
from dnas_mmseg.spaces.autodeeplab.cost import (
    branch_part,
    enter_part,
    entries,
    expected_cost,
    head_part,
    network_cost,
)
from dnas_mmseg.spaces.autodeeplab.decoding import OPTIONS, decode, random_architecture
from dnas_mmseg.spaces.autodeeplab.graph import pairs, trellis
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM

NONE = -1e9


def all_paths(layers):
    """Every path that the decoder can take, as scales."""
    following = {}
    for source, target in trellis(layers).edges:
        following.setdefault(source, []).append(target)

    def ways(node):
        if node.layer == layers - 1:
            yield (node.scale,)
            return
        for target in following[node]:
            for rest in ways(target):
                yield (node.scale, *rest)

    return [way[1:] for way in ways(STEM)]


def all_cells(blocks):
    """Every cell."""
    per_block = []
    for block in range(blocks):
        inputs = itertools.combinations(range(block + 2), 2)
        per_block.append(
            [
                (Branch(a, o), Branch(b, p))
                for a, b in inputs
                for o, p in itertools.product(OPERATIONS, repeat=2)
            ]
        )
    return itertools.product(*per_block)


def edges_of(path):
    nodes = [STEM, *((layer, scale) for layer, scale in enumerate(path))]
    return list(itertools.pairwise(nodes))


@pytest.fixture
def table(rng):
    values = {'stem': rng.random()}
    values |= {enter_part(*entry): rng.random() for entry in entries()}
    for scale, stride, name in itertools.product(range(4), (1, 2), OPERATIONS):
        values[branch_part(scale, stride, name)] = rng.random()
    for low, last in itertools.product(range(4), repeat=2):
        values[head_part(low, last)] = 3 * rng.random()
    return CostTable('macs', {'space': 'autodeeplab'}, values)


def test_the_paths_are_as_many_as_published():
    """28,657 over 11 transitions from stride 4, 75,025 with a free first layer."""
    paths = all_paths(12)
    assert len(set(paths)) == len(paths) == 75_025
    assert sum(path[0] == 0 for path in paths) == 28_657
    assert len(pairs(5)) == 20


def test_too_few_layers_to_reach_all_strides():
    with pytest.raises(ArchitectureError, match='layers = 2: at least 3'):
        trellis(2)


def test_decoding_agrees_with_brute_force(rng):
    """The most probable path, and of each block the two inputs of the largest non-zero weight."""
    for _ in range(20):
        scores = rng.standard_normal(len(trellis(5).edges))
        cell_scores = rng.standard_normal((len(pairs(2)), len(OPTIONS)))
        cell_scores[:, -1] += 3  # zero is the largest almost everywhere, and never taken
        found = decode(5, 2, scores, cell_scores)
        by_edge = dict(zip(trellis(5).edges, scores, strict=True))
        best = max(all_paths(5), key=lambda path: sum(by_edge[e] for e in edges_of(path)))
        assert found.path == best
        row = {pair: i for i, pair in enumerate(pairs(2))}
        cells = list(all_cells(2))
        values = [
            sum(
                cell_scores[row[i, branch.input], OPERATIONS.index(branch.operation)]
                for i, block in enumerate(cell)
                for branch in block
            )
            for cell in cells
        ]
        assert found.cell == cells[int(np.argmax(values))]


def test_the_published_network_is_a_fixed_point():
    published = load_architecture('autodeeplab')
    chosen = set(edges_of(published.path))
    scores = [0.0 if edge in chosen else NONE for edge in trellis(12).edges]
    cell_scores = np.full((len(pairs(5)), len(OPTIONS)), NONE)
    for i, block in enumerate(published.cell):
        for source, operation in block:
            cell_scores[pairs(5).index((i, source)), OPTIONS.index(operation)] = 0
    assert decode(12, 5, scores, cell_scores) == load_architecture(
        {**published.to_document(), 'name': 'autodeeplab_l12'}
    )


def test_with_a_price_neither_another_path_nor_another_cell_is_better(rng, table):
    edge_scores = rng.standard_normal(len(trellis(4).edges))
    cell_scores = rng.standard_normal((len(pairs(1)), len(OPTIONS)))
    by_edge = dict(zip(trellis(4).edges, edge_scores, strict=True))
    for price in (-1.0, 0.1, 1.0, 10.0):
        found = decode(4, 1, edge_scores, cell_scores, price, table)

        def value(path, cell, price=price):
            architecture = AutoDeepLabArchitecture(name='it', level='cell', path=path, cell=cell)
            score = sum(by_edge[e] for e in edges_of(path))
            score += sum(cell_scores[b.input, OPERATIONS.index(b.operation)] for b in cell[0])
            return score - price * network_cost(architecture, table)

        best = value(found.path, found.cell)
        assert all(value(path, found.cell) <= best + 1e-9 for path in all_paths(4))
        assert all(value(found.path, cell) <= best + 1e-9 for cell in all_cells(1))


def test_the_expected_cost_is_that_of_enumeration(rng, table):
    layers, blocks = 4, 2
    betas = torch.from_numpy(rng.standard_normal(len(trellis(layers).edges))).requires_grad_()
    weights = {}
    for node in {source for source, _ in trellis(layers).edges}:
        edges = [i for i, (source, _) in enumerate(trellis(layers).edges) if source == node]
        for i, p in zip(edges, betas[edges].softmax(0), strict=True):
            weights[trellis(layers).edges[i]] = p
    cells = torch.from_numpy(rng.random((len(pairs(blocks)), len(OPTIONS))))
    cells = (cells / cells.sum(1, keepdim=True)).requires_grad_()
    in_order = torch.stack([weights[edge] for edge in trellis(layers).edges])
    got = expected_cost(layers, blocks, in_order, cells, table)

    row = {pair: i for i, pair in enumerate(pairs(blocks))}
    useful = cells[:, :-1]
    # A block's two inputs, one drawn after the other, and an operation for each.
    block_chances = []
    for i in range(blocks):
        rows = useful[[row[i, source] for source in range(i + 2)]]
        p = rows.amax(1) / rows.amax(1).sum()
        q = rows / rows.sum(1, keepdim=True)
        chances = {}
        for a, b in itertools.combinations(range(i + 2), 2):
            drawn = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
            for o, r in itertools.product(range(len(OPERATIONS)), repeat=2):
                chances[Branch(a, OPERATIONS[o]), Branch(b, OPERATIONS[r])] = (
                    drawn * q[a, o] * q[b, r]
                )
        block_chances.append(chances)
    cells_by_chance = [
        (cell, torch.stack([block_chances[i][block] for i, block in enumerate(cell)]).prod())
        for cell in all_cells(blocks)
    ]
    chances = torch.stack([chance for _, chance in cells_by_chance])
    assert chances.sum().item() == pytest.approx(1)
    # A cell's cost on a path is a sum over its branches: their mean number, by kind and place.
    numbers = torch.zeros(len(cells_by_chance), 2, len(OPERATIONS)).double()
    for i, (cell, _) in enumerate(cells_by_chance):
        for block in cell:
            for source, name in block:
                numbers[i, int(source > 1), OPERATIONS.index(name)] += 1
    outer, inner = torch.tensordot(chances, numbers, 1)
    total = 0.0
    for path in all_paths(layers):
        cost, sources = table['stem'], ['half', 'stem', *path]
        for layer, scale in enumerate(path):
            before = path[layer - 1] if layer else 0
            stride = 2 if scale > before else 1
            cost = cost + table[enter_part(*sources[layer : layer + 2], scale, stride)]
            for numbers, own in ((outer, stride), (inner, 1)):
                costs = [table[branch_part(scale, own, name)] for name in OPERATIONS]
                cost = cost + (numbers * torch.tensor(costs).double()).sum()
        cost = cost + table[head_part(path[2], path[-1])]
        total = total + torch.stack([weights[edge] for edge in edges_of(path)]).prod() * cost
    torch.testing.assert_close(got, total)
    for mine, theirs in zip(
        torch.autograd.grad(got, (betas, cells), retain_graph=True),
        torch.autograd.grad(total, (betas, cells)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_random_networks_are_of_the_space(rng):
    for _ in range(30):
        drawn = random_architecture(6, 3, rng, 'drawn')  # validates itself
        assert drawn.layers == 6
        assert drawn.path in all_paths(6)

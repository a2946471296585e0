import numpy as np

from dnas_mmseg.spaces.autodeeplab.architecture import OPERATIONS, AutoDeepLabArchitecture
from dnas_mmseg.spaces.autodeeplab.cost import network_cost, penalty
from dnas_mmseg.spaces.autodeeplab.decoding import OPTIONS, decode, random_architecture
from dnas_mmseg.spaces.autodeeplab.graph import pairs, trellis
from dnas_mmseg.spaces.registry import load_architecture

from .conftest import all_cells, all_paths, edges_of

NONE = -1e9


def test_decoding_agrees_with_brute_force(rng):
    """The most probable path, and the two inputs per block with the largest non-zero weights."""
    for _ in range(20):
        scores = rng.standard_normal(len(trellis(5).edges))
        cell_scores = rng.standard_normal((len(pairs(2)), len(OPTIONS)))
        cell_scores[:, -1] += 3  # zero has the largest weights, but is never decoded
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


def test_decoding_reproduces_the_published_network():
    published = load_architecture('autodeeplab')
    selected = set(edges_of(published.path))
    scores = [0.0 if edge in selected else NONE for edge in trellis(12).edges]
    cell_scores = np.full((len(pairs(5)), len(OPTIONS)), NONE)
    for i, block in enumerate(published.cell):
        for source, operation in block:
            cell_scores[pairs(5).index((i, source)), OPTIONS.index(operation)] = 0
    assert decode(12, 5, scores, cell_scores) == load_architecture(
        {**published.to_document(), 'name': 'autodeeplab_l12'}
    )


def test_decoding_at_a_price_is_optimal_in_path_and_in_cell(rng, table):
    edge_scores = rng.standard_normal(len(trellis(4).edges))
    cell_scores = rng.standard_normal((len(pairs(1)), len(OPTIONS)))
    by_edge = dict(zip(trellis(4).edges, edge_scores, strict=True))
    for price in (-1.0, 0.1, 1.0, 10.0):
        found = decode(4, 1, edge_scores, cell_scores, penalty(4, table, price))

        def value(path, cell, price=price):
            architecture = AutoDeepLabArchitecture(name='it', level='cell', path=path, cell=cell)
            score = sum(by_edge[e] for e in edges_of(path))
            score += sum(cell_scores[b.input, OPERATIONS.index(b.operation)] for b in cell[0])
            return score - price * network_cost(architecture, table)

        best = value(found.path, found.cell)
        assert all(value(path, found.cell) <= best + 1e-9 for path in all_paths(4))
        assert all(value(found.path, cell) <= best + 1e-9 for cell in all_cells(1))


def test_random_networks_are_valid(rng):
    for _ in range(30):
        network = random_architecture(6, 3, rng, 'sampled')  # validates itself
        assert network.layers == 6
        assert network.path in all_paths(6)

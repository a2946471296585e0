import itertools

import numpy as np
import pytest

from dnas_mmseg.spaces.trellis import best_path


def lattice(layers, width):
    """Nodes (layer, i) fed by all nodes of the layer before; one start, ``width`` ends."""
    nodes = [[(0, 0)], *([(layer, i) for i in range(width)] for layer in range(1, layers))]
    return [(a, b) for here, there in itertools.pairwise(nodes) for b in there for a in here]


def test_it_agrees_with_brute_force(rng):
    edges = lattice(5, 3)
    for _ in range(50):
        weights = dict(zip(edges, rng.random(len(edges)), strict=True))
        paths = [
            [(0, 0), *enumerate(choice, 1)] for choice in itertools.product(range(3), repeat=4)
        ]
        best = max(paths, key=lambda p: np.prod([weights[e] for e in itertools.pairwise(p)]))
        ends = [(4, i) for i in range(3)]
        assert best_path([(*e, np.log(w)) for e, w in weights.items()], (0, 0), ends) == best


def test_ties_go_to_the_earlier_edge_and_end():
    thirds = [(a, b, -1 + 1e-12 * i) for i, (a, b) in enumerate(lattice(4, 3))]
    assert best_path(thirds, (0, 0), [(3, i) for i in range(3)]) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_many_layers_do_not_underflow():
    edges = [(i, i + 1, -300.0) for i in range(100)]
    assert best_path(edges, 0, [100]) == list(range(101))


def test_no_way_is_an_error():
    with pytest.raises(ValueError, match='no path leads from a'):
        best_path([('a', 'b', -np.inf), ('c', 'd', 0.0)], 'a', ['b', 'd'])

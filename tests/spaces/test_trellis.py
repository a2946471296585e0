import itertools

import numpy as np
import pytest
import torch

from dnas_mmseg.spaces.trellis import Trellis


def lattice(layers, width):
    """Nodes (layer, i) fed by all nodes of the layer before; one start, ``width`` ends."""
    nodes = [[(0, 0)], *([(layer, i) for i in range(width)] for layer in range(1, layers))]
    edges = [(a, b) for here, there in itertools.pairwise(nodes) for b in there for a in here]
    return Trellis(tuple(edges), (0, 0), tuple(nodes[-1]))


def paths(graph):
    """All paths, as lists of nodes."""
    found = [[graph.start]]
    while found[0][-1] not in graph.ends:
        found = [[*p, b] for p in found for a, b in graph.edges if a == p[-1]]
    return found


def test_best_path_agrees_with_brute_force(rng):
    graph = lattice(5, 3)
    for _ in range(50):
        weights = dict(zip(graph.edges, rng.random(len(graph.edges)), strict=True))
        best = max(paths(graph), key=lambda p: np.prod([weights[e] for e in itertools.pairwise(p)]))
        assert graph.best_path(np.log(list(weights.values()))) == best


def test_ties_go_to_the_earlier_edge_and_end():
    graph = lattice(4, 3)
    scores = [-1 + 1e-12 * i for i in range(len(graph.edges))]
    assert graph.best_path(scores) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_many_layers_do_not_underflow():
    chain = Trellis(tuple((i, i + 1) for i in range(100)), 0, (100,))
    assert chain.best_path([-300.0] * 100) == list(range(101))
    mean = chain.mean_over_paths(torch.full((100,), 1e-300, dtype=torch.double), [2.0] * 100)
    assert mean.item() == 200


def test_unreachable_ends_raise():
    with pytest.raises(ValueError, match='no path leads from a'):
        Trellis((('a', 'b'), ('c', 'd')), 'a', ('b', 'd')).best_path([-np.inf, 0.0])


def test_mean_over_paths_agrees_with_brute_force(rng):
    graph = lattice(5, 3)
    costs = rng.random(len(graph.edges))
    weights = torch.from_numpy(rng.random(len(graph.edges))).requires_grad_()
    of_edge = {edge: i for i, edge in enumerate(graph.edges)}
    indices = [[of_edge[edge] for edge in itertools.pairwise(path)] for path in paths(graph)]
    chances = torch.stack([weights[edges].prod() for edges in indices])
    means = torch.tensor([costs[edges].sum() for edges in indices])
    expected = (chances / chances.sum() * means).sum()
    got = graph.mean_over_paths(weights, costs)
    assert got.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,), (right,) = (torch.autograd.grad(value, weights) for value in (got, expected))
    torch.testing.assert_close(gradient, right)


def test_unfolded_paths_correspond_to_the_original_paths(rng):
    graph = lattice(5, 3)
    # A state is a node and the node before it.
    unfolded = graph.unfolded((None, graph.start), lambda state, node: (state[1], node))
    found = [[node for _, node in path] for path in paths(unfolded)]
    assert sorted(found) == sorted(paths(graph))
    for (before, after), origin in zip(unfolded.edges, unfolded.origins, strict=True):
        assert graph.edges[origin] == (before[1], after[1])
    # Incoming edges of a node precede its outgoing ones.
    for i, (source, _) in enumerate(unfolded.edges):
        assert source not in [target for _, target in unfolded.edges[i:]]
    scores = rng.random(len(graph.edges))
    best = unfolded.best_path(scores[list(unfolded.origins)])
    assert [node for _, node in best] == graph.best_path(scores)

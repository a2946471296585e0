import itertools
from collections import Counter

import numpy as np
import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS, DNASArchitecture
from dnas_mmseg.spaces.dnas.decoding import (
    connection_lattice,
    core_edges,
    decode_cells,
    decode_connections,
    decode_path,
    path_lattice,
    random_architecture,
    top_operations,
)
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM, Node


def core(*path):
    return DNASArchitecture(name='core', level='path', layers=len(path), path=path)


def all_paths(layers):
    for path in itertools.product(range(4), repeat=layers):
        if path[0] == 0 and all(abs(a - b) <= 1 for a, b in itertools.pairwise(path)):
            yield path


@pytest.mark.parametrize(('layers', 'edges'), [(12, 96), (14, 116)])
def test_number_of_edges_of_the_path_lattice(layers, edges):
    lattice = path_lattice(layers)
    assert len(lattice.edges) == edges
    assert lattice.pruned() == lattice
    assert [node.scale for node in lattice.outputs] == [0, 1, 2, 3]


@pytest.mark.parametrize(('layers', 'edges'), [(12, 137), (14, 167)])
def test_connection_lattices_of_the_released_paths(layers, edges):
    lattice = connection_lattice(load_architecture(f'dnas_l{layers}_gid5@path'))
    assert len(lattice.edges) == edges
    released = set(load_architecture(f'dnas_l{layers}_gid5').edges)
    # The released L=12 contains one edge that this stage cannot select.
    odd = {(STEM, Node(8, 0))} if layers == 12 else set()
    assert released - set(lattice.edges) == odd


@pytest.mark.parametrize('path', list(all_paths(5)), ids=str)
def test_every_path_has_connections_without_dead_nodes(path):
    lattice = connection_lattice(core(*path))
    assert all(spec.inputs for spec in lattice.nodes)  # also (l,1) after a core node at scale 3
    assert core_edges(path) <= set(lattice.edges)
    assert lattice.pruned() == lattice


@pytest.mark.parametrize('layers', [12, 14])
def test_paths_agree_with_the_released_decoder(shared, layers):
    recorded = np.load(shared / f'reference/decode_path_l{layers}.npz', allow_pickle=False)
    lattice = path_lattice(layers)
    for transition, path in zip(recorded['transition'], recorded['path'], strict=True):
        weights = [transition[b.layer, a.scale, b.scale - a.scale + 1] for a, b in lattice.edges]
        assert decode_path(lattice, np.log(weights)).path == tuple(path)


def test_paths_agree_with_brute_force(rng):
    lattice = path_lattice(6)
    for _ in range(30):
        weights = dict(zip(lattice.edges, rng.random(len(lattice.edges)), strict=True))
        best = max(all_paths(6), key=lambda p: np.prod([weights[e] for e in core_edges(p)]))
        assert decode_path(lattice, np.log(list(weights.values()))).path == best


def test_equal_weights_decode_to_the_finest_scale():
    lattice = path_lattice(8)
    assert decode_path(lattice, [-1.0] * len(lattice.edges)).path == (0,) * 8


def test_decoded_connections_have_no_dead_edges(rng):
    for path in list(all_paths(6))[::7]:
        lattice = connection_lattice(core(*path))
        for share in (0, 0.1, 0.5, 1):
            keep = rng.random(len(lattice.edges)) < share
            decoded = decode_connections(lattice, keep)
            assert decoded.pruned() == decoded
            assert core_edges(path) <= set(decoded.edges)
            wanted = {e for e, k in zip(lattice.edges, keep, strict=True) if k}
            assert set(decoded.edges) <= wanted | core_edges(path)
    assert decode_connections(lattice, [True] * len(lattice.edges)).edges == lattice.edges


@pytest.mark.parametrize('layers', [12, 14])
def test_cells_agree_with_the_released_decoder(shared, layers):
    recorded = np.load(shared / f'reference/decode_cell_l{layers}.npz', allow_pickle=False)
    assert np.array_equal(top_operations(recorded['alphas']), recorded['cell_operations'])


def test_cells_have_the_three_best_operations_and_ties_go_to_earlier_ones():
    architecture = connection_lattice(core(0, 1, 1, 0))
    scores = np.zeros((len(architecture.nodes), len(OPERATIONS)))
    scores[0, [9, 4, 2]] = 1, 2, 3
    decoded = decode_cells(architecture, scores)
    assert decoded.nodes[0].operations == (OPERATIONS[2], OPERATIONS[4], OPERATIONS[9])
    assert all(spec.operations == OPERATIONS[:3] for spec in decoded.nodes[1:])
    assert decoded.at_level('connection') == architecture


def test_random_networks_are_uniform_over_paths_and_complete():
    rng = np.random.default_rng(0)
    paths = Counter()
    for i in range(600):
        network = random_architecture(4, rng, f'r{i}')
        assert network.level == 'cell'
        assert network.pruned() == network
        assert all(len(spec.operations) == 3 for spec in network.nodes)
        paths[network.path] += 1
    assert set(paths) == set(all_paths(4))
    expected = 600 / len(paths)
    assert sum((n - expected) ** 2 / expected for n in paths.values()) < 3 * len(paths)


def test_too_few_layers_raise():
    with pytest.raises(ArchitectureError, match='layers = 3: at least 4'):
        path_lattice(3)

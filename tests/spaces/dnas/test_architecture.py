import numpy as np
import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS, DNASArchitecture, NodeSpec
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM, Node

OPS = ('conv3x3',)


def build(*nodes, layers=3, level='cell', path=()):
    """A network from (layer, scale, inputs[, operations])."""
    default = () if level == 'connection' else OPS
    specs = [
        NodeSpec(Node(layer, scale), tuple(Node(*i) for i in inputs), *(ops or (default,)))
        for layer, scale, inputs, *ops in nodes
    ]
    return DNASArchitecture(name='test', level=level, layers=layers, path=path, nodes=tuple(specs))


def chain():
    return [(0, 0, [STEM]), (1, 0, [(0, 0)]), (2, 0, [(1, 0)])]


@pytest.mark.parametrize(
    ('layers', 'listed', 'live', 'scales'), [(12, 64, 62, (1, 2)), (14, 83, 77, (0, 1, 2, 3))]
)
def test_numbers_of_edges_of_published_networks(layers, listed, live, scales):
    architecture = load_architecture(f'dnas_l{layers}_gid5')
    assert len(architecture.edges) == listed
    assert len(architecture.pruned().edges) == live
    assert tuple(node.scale for node in architecture.outputs) == scales


@pytest.mark.parametrize('layers', [12, 14])
def test_published_networks_equal_the_released_encodings(shared, layers):
    folder = shared / 'reference/encodings'
    edges = np.load(folder / f'dnas_l{layers}_gid5_third_connect.npy', allow_pickle=False)
    selected = np.load(folder / f'dnas_l{layers}_gid5_cell_operations.npy', allow_pickle=False)
    architecture = load_architecture(f'dnas_l{layers}_gid5')
    released = [(Node(*source), Node(*target)) for source, target in edges.tolist()]
    assert list(architecture.edges) == released
    for node, inputs, operations in architecture.nodes:
        if inputs:
            assert operations == tuple(np.array(OPERATIONS[:10])[selected[node] == 1])


def test_pruning_removes_dead_edges():
    architecture = load_architecture('dnas_l14_gid5')
    dead = set(architecture.edges) - set(architecture.pruned().edges)
    assert dead == {
        (Node(8, 0), Node(10, 1)),
        (Node(10, 0), Node(11, 0)),
        (Node(10, 0), Node(11, 2)),
        (Node(11, 0), Node(12, 1)),
        (Node(10, 1), Node(11, 1)),
        (Node(11, 1), Node(12, 0)),
    }
    assert architecture.pruned().pruned() == architecture.pruned()


def test_unreachable_nodes_of_the_last_layer_are_no_outputs():
    architecture = build(*chain(), (1, 1, []), (2, 1, [(1, 1)]), (2, 2, [(1, 1), (1, 0)]))
    assert architecture.outputs == (Node(2, 0), Node(2, 2))
    assert Node(2, 1) not in {spec.node for spec in architecture.pruned().nodes}


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ((0, 1), '2 entries for 3 layers'),
        ((1, 1, 1), 'begins at scale 1'),
        ((0, 2, 2), 'jumps from scale 0 to 2'),
        ((0, 1, -1), 'not in 0..3'),
    ],
)
def test_invalid_paths_raise(path, message):
    with pytest.raises(ArchitectureError, match=message):
        DNASArchitecture(name='p', level='path', layers=3, path=path)


INVALID = {
    'unknown operation': (
        [*chain()[:2], (2, 0, [(1, 0)], ('conv9x9',))],
        r"operation 'conv9x9' of node \(2,0\) is unknown; available: conv1x1",
    ),
    'missing node': (
        [*chain(), (2, 1, [(1, 1)])],
        r'edge \(1,1\) -> \(2,1\) starts at a node that is not listed',
    ),
    'backwards': (
        [(0, 0, [STEM, (1, 1)]), (1, 0, [(0, 0)]), (1, 1, [STEM]), (2, 0, [(1, 0)])],
        r'edge \(1,1\) -> \(0,0\) goes backwards',
    ),
    'sideways': (
        [*chain(), (1, 1, [(1, 0)]), (2, 1, [(1, 1)])],
        r'edge \(1,0\) -> \(1,1\) goes backwards or sideways',
    ),
    'cycle': (
        [(0, 0, [STEM, (1, 0)]), (1, 0, [(0, 0)]), (2, 0, [(1, 0)])],
        r'cycle \(\d,0\) -> \(\d,0\) -> \(\d,0\)',
    ),
    'more than one network': (
        [*chain(), (1, 2, []), (2, 2, [(1, 2)])],
        r'more than one network: nothing connects \(1,2\), \(2,2\) with the stem',
    ),
    'no path to the head': (
        [(0, 0, [STEM]), (1, 0, []), (2, 0, [(1, 0)])],
        r'no path leads from the stem to a node of the last layer \(2\)',
    ),
    'twice': ([*chain(), (1, 0, [STEM])], r'node \(1,0\) is listed twice'),
    'input twice': ([*chain()[:2], (2, 0, [(1, 0), (1, 0)])], r'node \(2,0\) lists an input twice'),
    'outside': ([*chain(), (3, 0, [STEM])], r'\(3,0\) lies outside the lattice of 3 layers'),
    'undecided': ([*chain()[:2], (2, 0, [(1, 0)], ())], r'\(2,0\) has inputs but no operations'),
}


@pytest.mark.parametrize('name', INVALID)
def test_invalid_networks_raise_specific_errors(name):
    nodes, message = INVALID[name]
    with pytest.raises(ArchitectureError, match=message):
        build(*nodes)


def test_core_path_must_be_among_the_edges():
    with pytest.raises(ArchitectureError, match=r'edge \(1,1\) -> \(2,1\) of the core path'):
        build(*chain(), (1, 1, [(0, 0)]), (2, 1, [STEM]), path=(0, 1, 1))


def test_level_connection_has_no_operations():
    build(*chain(), level='connection')
    with pytest.raises(ArchitectureError, match='which level'):
        build(*chain()[:2], (2, 0, [(1, 0)], OPS), level='connection')

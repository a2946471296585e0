"""The DNAS space: mutation and encoding of networks."""

import numpy as np

from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture, NodeSpec
from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.dnas.space import DNASSpace
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM, Node

SPACE = DNASSpace()


def _kinds(before, after):
    """Numbers of differing scales of the path, and of differing operations of common nodes."""
    own, other = ({s.node: s for s in net.nodes} for net in (before, after))
    common = own.keys() & other.keys()
    return {
        'path': sum(a != b for a, b in zip(before.path, after.path, strict=True)),
        'operations': sum(len(set(own[n].operations) - set(other[n].operations)) for n in common),
    }


def test_mutations_change_one_decision_of_any_kind_and_are_valid(rng):
    network = random_architecture(8, rng, 'sampled')
    seen = {'path': 0, 'operations': 0, 'edges': 0}
    for _ in range(200):
        changed = SPACE.mutate({}, network, rng)
        assert changed != network
        assert load_architecture(changed.to_document()) == changed == changed.pruned()
        kinds = _kinds(network, changed)
        assert sum(kinds.values()) <= 1
        for kind, count in kinds.items():
            seen[kind] += count
        if not sum(kinds.values()):
            differing = set(network.edges) ^ set(changed.edges)
            assert differing
            seen['edges'] += 1
    assert min(seen.values()) > 40


def test_many_mutations_reach_many_networks(rng):
    network = random_architecture(8, rng, 'sampled')
    counts = []
    for _ in range(300):
        network = SPACE.mutate({}, network, rng)
        counts.append((len(network.edges), len(network.nodes), *network.path))
    assert len(np.unique(counts, axis=0)) > 60


def test_published_networks_can_be_mutated(rng):
    network = load_architecture('dnas_l12_gid5')
    assert all(SPACE.mutate({}, network, rng) != network for _ in range(30))


def test_features_of_a_network():
    ops = ('conv1x1', 'conv3x3', 'sep_conv_3x3')
    first, second, third = Node(0, 0), Node(1, 1), Node(2, 1)
    network = DNASArchitecture(
        name='net',
        level='cell',
        layers=3,
        path=(0, 1, 1),
        nodes=(
            NodeSpec(first, (STEM,), ops),
            NodeSpec(second, (first,), ops),
            NodeSpec(third, (STEM, second), ('conv1x1', 'avg_pool_3x3', 'sep_conv_3x3')),
        ),
    )
    code = SPACE.encode(network).tolist()
    assert code[:5] == [1, 2, 0, 0, 1]  # layers at each scale, the last scale
    assert code[5:9] == [1, 2, 0, 0]  # nodes
    assert code[9:13] == [0, 1, 0, 0]  # outputs
    assert code[13:15] == [4, 1.5]  # edges, and the layers that they span
    assert code[15:19] == [1, 3, 0, 0]  # edges to each scale
    assert code[19:29] == [1, 0.5, 0, 0, 1, 0, 0, 0.5, 0, 0]


def test_different_networks_have_different_features(rng):
    codes = [SPACE.encode(random_architecture(8, rng, 'sampled')) for _ in range(50)]
    assert len({code.shape for code in codes}) == 1
    assert len(np.unique(codes, axis=0)) == 50

"""Single changes of DNAS networks."""

import numpy as np

from dnas_mmseg.spaces.dnas.change import random_change
from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.registry import load_architecture


def _kinds(before, after):
    """What differs: operations of a node that both have, edges between such nodes, the path."""
    own, other = ({s.node: s for s in net.nodes} for net in (before, after))
    kept = own.keys() & other.keys()
    return {
        'path': sum(a != b for a, b in zip(before.path, after.path, strict=True)),
        'operations': sum(len(set(own[n].operations) - set(other[n].operations)) for n in kept),
    }


def test_changes_are_single_ones_of_all_kinds_and_stay_in_the_space(rng):
    network = random_architecture(8, rng, 'drawn')
    seen = {'path': 0, 'operations': 0, 'edges': 0}
    for _ in range(200):
        changed = random_change(network, rng)
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


def test_many_changes_lead_through_the_space(rng):
    """Edges come and go, and so do nodes."""
    network = random_architecture(8, rng, 'drawn')
    counts = []
    for _ in range(300):
        network = random_change(network, rng)
        counts.append((len(network.edges), len(network.nodes), *network.path))
    assert len(np.unique(counts, axis=0)) > 60


def test_published_networks_can_be_changed(rng):
    network = load_architecture('dnas_l12_gid5')
    assert all(random_change(network, rng) != network for _ in range(30))

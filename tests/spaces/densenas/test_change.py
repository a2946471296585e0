"""Single changes of DenseNAS networks."""

import pytest

from dnas_mmseg.spaces.densenas.change import random_change
from dnas_mmseg.spaces.densenas.decoding import random_architecture
from dnas_mmseg.spaces.densenas.graph import dense_space
from dnas_mmseg.spaces.registry import load_architecture

WIDTHS = ([8], [8, 12, 16], [16, 24, 32])


@pytest.mark.parametrize('family', ['mbconv', 'basic'])
def test_changes_are_single_ones_of_all_kinds_and_stay_in_the_space(family, rng):
    space = dense_space(family, WIDTHS, [2, 4, 8], [0, 1, 2], window=3)
    network = random_architecture(space, rng, 'drawn')
    seen = {'operations': 0, 'paths': 0}
    for _ in range(200):
        changed = random_change(space, network, rng)
        assert changed != network
        assert load_architecture(changed.to_document()) == changed
        before, after = space.walk_of(network), space.walk_of(changed)
        if before == after:
            old, new = (
                [name for block in net.blocks for name in (block.head, *block.stack)]
                for net in (network, changed)
            )
            assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
            seen['operations'] += 1
        else:
            assert len(set(before) ^ set(after)) in (1, 2)
            assert abs(len(before) - len(after)) <= 1
            seen['paths'] += 1
    assert min(seen.values()) > 40


def test_a_space_with_one_path_changes_operations_alone(rng):
    space = dense_space('mbconv', ([8], [16], [24]), [2, 4, 8], [0, 1, 1], window=1)
    network = random_architecture(space, rng, 'drawn')
    for _ in range(20):
        changed = random_change(space, network, rng)
        assert space.walk_of(changed) == space.walk_of(network)
        assert changed != network

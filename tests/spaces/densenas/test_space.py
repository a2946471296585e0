"""The DenseNAS space: mutation and encoding of networks."""

import numpy as np
import pytest

from dnas_mmseg.spaces.densenas.architecture import BlockSpec, DenseNASArchitecture
from dnas_mmseg.spaces.densenas.decoding import random_architecture
from dnas_mmseg.spaces.densenas.graph import dense_space
from dnas_mmseg.spaces.densenas.space import DenseNASSpace
from dnas_mmseg.spaces.registry import load_architecture

SPACE = DenseNASSpace()

WIDTHS = ([8], [8, 12, 16], [16, 24, 32])


@pytest.mark.parametrize('family', ['mbconv', 'basic'])
def test_mutations_change_one_decision_of_any_kind_and_are_valid(family, rng):
    settings = dict(block=family, widths=WIDTHS, strides=[2, 4, 8], depths=[0, 1, 2], window=3)
    space = dense_space(*settings.values())
    network = random_architecture(space, rng, 'sampled')
    seen = {'operations': 0, 'paths': 0}
    for _ in range(200):
        changed = SPACE.mutate(settings, network, rng)
        assert changed != network
        assert load_architecture(changed.to_document()) == changed
        before, after = space.path_of(network), space.path_of(changed)
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


def test_a_space_with_one_path_mutates_operations_only(rng):
    widths = ([8], [16], [24])
    settings = dict(block='mbconv', widths=widths, strides=[2, 4, 8], depths=[0, 1, 1], window=1)
    space = dense_space(*settings.values())
    network = random_architecture(space, rng, 'sampled')
    for _ in range(20):
        changed = SPACE.mutate(settings, network, rng)
        assert space.path_of(changed) == space.path_of(network)
        assert changed != network


def test_features_of_a_network():
    network = DenseNASArchitecture(
        name='net',
        level='cell',
        stem=8,
        final=0,
        blocks=(
            BlockSpec(8, 'k3t1', (), 1),
            BlockSpec(16, 'k3t3', ('k5t6', 'skip'), 2),
            BlockSpec(32, 'k7t6', ('skip',), 2),
        ),
    )
    code = SPACE.encode(network).tolist()
    assert code[:5] == [1, 1, 1, 0, 0]  # blocks below stride 4, at 4, at 8, ...
    assert code[5:9] == pytest.approx([1, np.log(8), 3, 1])
    assert code[9:13] == pytest.approx([2, np.log(16), 4, 4.5])  # without skipped layers
    assert code[13:17] == pytest.approx([1, np.log(32), 7, 6])
    assert code[17:] == [0] * 8

"""The Auto-DeepLab space: mutation and encoding of networks."""

from dnas_mmseg.spaces.autodeeplab.architecture import AutoDeepLabArchitecture, Branch
from dnas_mmseg.spaces.autodeeplab.decoding import random_architecture
from dnas_mmseg.spaces.autodeeplab.space import AutoDeepLabSpace
from dnas_mmseg.spaces.registry import load_architecture

SPACE = AutoDeepLabSpace()


def test_mutations_change_one_decision_of_any_kind_and_are_valid(rng):
    network = random_architecture(6, 4, rng, 'sampled')
    seen = {'scale': 0, 'operation': 0, 'input': 0}
    for _ in range(200):
        changed = SPACE.mutate({}, network, rng)
        assert load_architecture(changed.to_document()) == changed
        scales = sum(a != b for a, b in zip(network.path, changed.path, strict=True))
        blocks = [(a, b) for a, b in zip(network.cell, changed.cell, strict=True) if a != b]
        assert scales + len(blocks) == 1
        seen['scale'] += scales
        for before, after in blocks:
            (old,), (new,) = set(before) - set(after), set(after) - set(before)
            assert (old.input == new.input) != (old.operation == new.operation)
            seen['operation' if old.input == new.input else 'input'] += 1
    assert min(seen.values()) > 40


def test_a_cell_of_one_block_has_no_other_inputs(rng):
    network = random_architecture(4, 1, rng, 'sampled')
    changes = [SPACE.mutate({}, network, rng) for _ in range(30)]
    assert all(other != network for other in changes)
    assert {branch.input for other in changes for branch in other.cell[0]} == {0, 1}


def test_features_of_a_network():
    network = AutoDeepLabArchitecture(
        name='net',
        level='cell',
        path=(0, 1, 1, 2),
        cell=(
            (Branch(0, 'sep3'), Branch(1, 'skip')),
            (Branch(1, 'sep3'), Branch(2, 'max3')),
        ),
    )
    code = SPACE.encode(network).tolist()
    assert code[:4] == [1, 2, 1, 0]  # layers at each scale
    assert code[4:7] == [1, 1, 2]  # mean scale, at the low level, at the end
    assert code[7:14] == [2, 0, 0, 0, 0, 1, 1]  # operations
    assert code[14:] == [1, 2, 2]  # readers of the two previous cells, longest chain of blocks

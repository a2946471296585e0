"""Single changes of Auto-DeepLab networks."""

from dnas_mmseg.spaces.autodeeplab.change import random_change
from dnas_mmseg.spaces.autodeeplab.decoding import random_architecture
from dnas_mmseg.spaces.registry import load_architecture


def test_changes_are_single_ones_of_all_kinds_and_stay_in_the_space(rng):
    network = random_architecture(6, 4, rng, 'drawn')
    seen = {'scale': 0, 'operation': 0, 'input': 0}
    for _ in range(200):
        changed = random_change(network, rng)
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
    network = random_architecture(4, 1, rng, 'drawn')
    changes = [random_change(network, rng) for _ in range(30)]
    assert all(other != network for other in changes)
    assert {branch.input for other in changes for branch in other.cell[0]} == {0, 1}

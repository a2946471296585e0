import itertools

import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.densenas.architecture import kernel_and_expansion
from dnas_mmseg.spaces.registry import load_architecture

BLOCKS = [
    dict(width=16, head='k3t1', stack=[], stride=1),
    dict(width=24, head='k5t6', stack=['skip', 'k3t3'], stride=2),
    dict(width=40, head='k7t3', stack=['skip'], stride=2),
]
DOCUMENT = dict(format=1, space='densenas', level='cell', name='x', stem=16, final=0, blocks=BLOCKS)


def test_properties_of_an_architecture():
    found = load_architecture(DOCUMENT)
    nodes = [(16, -1), (16, -1), (24, 0), (40, 1)]
    assert [step[:2] for step in found.steps] == list(itertools.pairwise(nodes))
    assert found.graph == (((16, -1), (24, 0)), ((24, 0), (40, 1)))
    assert found.selected_operations == {
        (16, -1, 24, 0): ('k5t6',), (24, 0, 1): ('skip',), (24, 0, 2): ('k3t3',),
        (24, 0, 40, 1): ('k7t3',), (40, 1, 1): ('skip',),
    }  # fmt: skip
    assert found.summary == {'widths': '16-24-40', 'layers': '4'}  # without the skipped ones
    assert found.table[1][1] == ('24', '2', 'k5t6', 'skip, k3t3')


def test_pruning_removes_skipped_layers():
    found = load_architecture(DOCUMENT)
    assert [block.stack for block in found.pruned().blocks] == [(), ('k3t3',), ()]
    assert found.pruned().pruned() == found.pruned() != found
    assert load_architecture(found.to_document()) == found


def test_names_of_operations():
    assert kernel_and_expansion('k5t6') == (5, 6)
    assert kernel_and_expansion('k3t1') == (3, 1)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(blocks=[]), 'there are no blocks'),
        (dict(blocks=[{**BLOCKS[1], 'width': 0}]), 'block 0: width 0, stride 2; a width of at'),
        (dict(blocks=[{**BLOCKS[1], 'stack': ['k3t4']}]), "operation 'k3t4' of block 0"),
        (dict(level='path'), 'everything is decided together'),
    ],
)
def test_invalid_networks_raise_specific_errors(change, message):
    with pytest.raises(ArchitectureError, match=message):
        load_architecture({**DOCUMENT, **change})


def test_cell_is_the_only_level():
    found = load_architecture(DOCUMENT)
    assert found.at_level('cell') is found
    with pytest.raises(ArchitectureError, match="has no level 'connection'"):
        found.at_level('connection')

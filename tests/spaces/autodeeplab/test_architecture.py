import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import STEM

DOCUMENT = dict(
    format=1, space='autodeeplab', level='cell', name='x', path=[1, 2, 3, 2],
    cell=[[[0, 'skip'], [1, 'avg3']], [[2, 'max3'], [1, 'atrous3']]],
)  # fmt: skip


def test_properties_of_an_architecture():
    found = load_architecture(DOCUMENT)
    assert (found.layers, found.low_level) == (4, 2)
    assert load_architecture({**DOCUMENT, 'path': [0, 1]}).low_level == 1
    assert found.graph == (
        (STEM, (0, 1)), ((0, 1), (1, 2)), ((1, 2), (2, 3)), ((2, 3), (3, 2)),
    )  # fmt: skip
    assert found.selected_operations == {
        (0, 0): ('skip',), (0, 1): ('avg3',), (1, 1): ('atrous3',), (1, 2): ('max3',),
    }  # fmt: skip
    assert found.summary == {'path': '1-2-3-2', 'blocks': '2'}
    assert found.scalars == {'path_00': 1, 'path_01': 2, 'path_02': 3, 'path_03': 2}
    assert found.table[1] == [
        ('0', 'skip of the second previous cell', 'avg3 of the previous cell'),
        ('1', 'atrous3 of the previous cell', 'max3 of block 0'),
    ]


def test_the_order_of_branches_does_not_matter():
    turned = [block[::-1] for block in DOCUMENT['cell']]
    assert load_architecture({**DOCUMENT, 'cell': turned}) == load_architecture(DOCUMENT)
    other = [DOCUMENT['cell'][0], [[2, 'max3'], [1, 'atrous5']]]
    assert load_architecture({**DOCUMENT, 'cell': other}) != load_architecture(DOCUMENT)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(path=[]), 'path is empty'),
        (dict(cell=[]), 'the cell has no blocks'),
        (dict(cell=[[[0, 'sep3']]]), 'block 0 has 1 branches, 2 are required'),
    ],
)
def test_invalid_networks_raise_specific_errors(change, message):
    with pytest.raises(ArchitectureError, match=message):
        load_architecture({**DOCUMENT, **change})


def test_cell_is_the_only_level():
    found = load_architecture(DOCUMENT)
    assert found.at_level('cell') is found.pruned() is found
    with pytest.raises(ArchitectureError, match="has no level 'path'"):
        found.at_level('path')

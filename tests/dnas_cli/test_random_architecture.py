"""Networks drawn at random, as a user draws them."""

import pytest

from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, run

TOOL = ROOT / 'tools/analysis_tools/random_architecture.py'


@pytest.mark.parametrize(
    ('space', 'options', 'layers'),
    [
        ('dnas', ('--layers', 6), 6),
        ('autodeeplab', ('--search-options', 'model.backbone.layers=5'), 5),
    ],
    ids=['dnas', 'autodeeplab'],
)
def test_a_network_is_its_seeds(tmp_path, space, options, layers):
    drawn = []
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        code, output = run(TOOL, space, tmp_path / f'{name}.json', '--seed', seed, *options)
        assert code == 0, output
        drawn.append(load_architecture(tmp_path / f'{name}.json'))
        assert output.startswith(f'{tmp_path}/{name}.json: path {drawn[-1].summary["path"]}, ')
    assert [one.name for one in drawn] == ['a', 'b', 'c']
    assert {(one.space, one.level, one.layers) for one in drawn} == {(space, 'cell', layers)}
    assert (
        drawn[0].selected_operations == drawn[1].selected_operations != drawn[2].selected_operations
    )

"""Command `dnas random-architecture`."""

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
def test_the_seed_determines_the_architecture(tmp_path, space, options, layers):
    sampled = []
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        code, output = run(TOOL, space, tmp_path / f'{name}.json', '--seed', seed, *options)
        assert code == 0, output
        sampled.append(load_architecture(tmp_path / f'{name}.json'))
        assert output.startswith(f'{tmp_path}/{name}.json: path {sampled[-1].summary["path"]}, ')
    assert [one.name for one in sampled] == ['a', 'b', 'c']
    assert {(one.space, one.level, one.layers) for one in sampled} == {(space, 'cell', layers)}
    assert (
        sampled[0].selected_operations
        == sampled[1].selected_operations
        != sampled[2].selected_operations
    )

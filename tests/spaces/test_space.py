import pytest

from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.space import constructor_arguments


def test_stages_are_in_order():
    space = SPACES['dnas']
    assert space.levels == ['path', 'connection', 'cell']
    assert [space.before(level) for level in space.levels] == [None, 'path', 'connection']
    assert space.stage('cell').config == 'dnas/dnas_l14_cell-search_gid5.py'


def test_constructor_arguments_include_defaults():
    config = dict(type='AutoDeepLabSupernet', layers=5)
    arguments = constructor_arguments(config)
    assert (arguments['layers'], arguments['filters'], arguments['blocks']) == (5, 8, 5)
    assert 'type' not in arguments
    assert config == dict(type='AutoDeepLabSupernet', layers=5)
    with pytest.raises(TypeError, match='layer'):
        constructor_arguments({**config, 'layer': 3})


@pytest.mark.parametrize('space', SPACES)
def test_networks_are_sampled_from_the_arguments_of_a_supernet(space, rng):
    settings = {
        'dnas': (dict(type='DNASPathSupernet', layers=5), lambda found: found.layers == 5),
        'autodeeplab': (
            dict(type='AutoDeepLabSupernet', layers=6, blocks=3),
            lambda found: (found.layers, len(found.cell)) == (6, 3),
        ),
        'densenas': (
            dict(type='DenseNASSupernet', widths=((4,), (6,), (10,)), strides=(2, 4, 8),
                 depths=(0, 0, 2), window=1),
            lambda found: found.summary['widths'].endswith('4-6-10'),
        ),
    }  # fmt: skip
    supernet, fits = settings[space]
    found = SPACES[space].sample(constructor_arguments(supernet), rng, 'sampled')
    assert found.name == 'sampled'
    assert fits(found)

"""Registry of search spaces, and loading of architectures."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import random_architecture
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.registry import SPACES, load_architecture, register_space

from ..conftest import ROOT


@pytest.mark.parametrize('space', SPACES)
def test_a_random_network_is_sampled_without_a_supernet(space, monkeypatch):
    monkeypatch.setattr('torch.nn.Module.__init__', None)  # no module can be built
    plan = SearchPlan(space)
    first, again, other = (
        random_architecture(plan, np.random.default_rng(seed), 'sampled') for seed in (0, 0, 1)
    )
    assert type(first) is SPACES[space].architecture
    assert first.level == 'cell'
    assert first == again != other


def test_invalid_files_and_documents_raise(tmp_path):
    whole = json.dumps(load_architecture('dnas_l12_gid5').to_document())
    cut = tmp_path / 'cut.json'
    cut.write_text(whole[: len(whole) // 2])
    with pytest.raises(ArchitectureError, match=r'cut.json is not complete JSON.*cut off'):
        load_architecture(cut)
    several = tmp_path / 'several.json'
    several.write_text(f'[{whole}, {whole}]')
    with pytest.raises(
        ArchitectureError, match=r'several\.json: more than one network: a list of 2'
    ):
        load_architecture(several)
    with pytest.raises(ArchitectureError, match='neither a file nor a published architecture'):
        load_architecture('dnas_l13_gid5')
    document = json.loads(whole)
    unknown = "space 'dans' is unknown; available: autodeeplab, densenas, dnas"
    with pytest.raises(ArchitectureError, match=unknown):
        load_architecture({**document, 'space': 'dans'})
    for key, value in (
        ('layers', 'twelve'),
        ('path', 'abc'),
        ('nodes', [{'node': [0, 0, 0], 'inputs': []}]),
        ('nodes', 'none'),
        ('space', []),
    ):
        with pytest.raises(ArchitectureError, match=r'has the wrong type|is unknown'):
            load_architecture({**document, key: value})
    with pytest.raises(ArchitectureError, match="'format' is 99"):
        load_architecture({**document, 'format': 99})
    del document['layers']
    with pytest.raises(ArchitectureError, match="key 'layers' is missing"):
        load_architecture(document)


PLUGIN = """
from dnas_mmseg.spaces.dnas.space import DNASSpace
from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture
from dnas_mmseg.spaces.registry import register_space

class MyArchitecture(DNASArchitecture):
    space = 'mine'

@register_space
class MySpace(DNASSpace):
    architecture = MyArchitecture
"""

SHOW = """
from dnas_mmseg.architectures import load_architecture
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.spaces.registry import SPACES
mine = load_architecture('my_net')
print(list(SPACES), SearchPlan('mine').levels, mine.space, type(mine).__module__)
"""


@pytest.fixture
def plugin(tmp_path):
    """A separate package outside of this repository, with a space and a network."""
    package, info = tmp_path / 'my_space', tmp_path / 'my_space-1.0.dist-info'
    (package / 'published').mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'space.py').write_text(PLUGIN)
    document = {**load_architecture('dnas_l12_gid5').to_document(), 'space': 'mine'}
    (package / 'published/my_net.json').write_text(json.dumps(document))
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: my_space\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[dnas_mmseg.spaces]\nmine = my_space.space\n')
    return package


def show(folder):
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, '-c', SHOW], env=environment, capture_output=True, text=True
    )


def test_another_package_adds_a_space(plugin):
    finished = show(plugin.parent)
    expected = "['autodeeplab', 'densenas', 'dnas', 'mine'] ('path', 'connection', 'cell') mine "
    assert finished.stdout.strip() == f'{expected}my_space.space', finished.stderr


def test_a_broken_package_causes_a_warning_and_does_not_affect_other_spaces(plugin):
    (plugin / 'space.py').write_text('import nothing_of_this_name')
    finished = show(plugin.parent)
    assert "search space 'mine' of another package (my_space.space) cannot be" in finished.stderr
    assert "'my_net' is neither a file nor a published architecture" in finished.stderr


def test_two_spaces_with_the_same_name_raise():
    class Other(type(SPACES['dnas'])):
        pass

    with pytest.raises(ValueError, match="two search spaces are named 'dnas'"):
        register_space(Other)

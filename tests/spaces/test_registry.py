"""The table of search spaces."""

import json

import numpy as np
import pytest

from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import random_architecture
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.registry import SPACES, load_architecture


@pytest.mark.parametrize('space', SPACES)
def test_a_random_network_is_drawn_without_a_supernet(space, monkeypatch):
    monkeypatch.setattr('torch.nn.Module.__init__', None)  # no module can be built
    plan = SearchPlan(space)
    first, again, other = (
        random_architecture(plan, np.random.default_rng(seed), 'drawn') for seed in (0, 0, 1)
    )
    assert type(first) is SPACES[space].architecture
    assert first.level == 'cell'
    assert first == again != other


def test_files_that_are_no_architecture(tmp_path):
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
    with pytest.raises(ArchitectureError, match="space 'dans' is unknown; there are dnas"):
        load_architecture({**document, 'space': 'dans'})
    for key, value in (
        ('layers', 'twelve'),
        ('path', 'abc'),
        ('nodes', [{'node': [0, 0, 0], 'inputs': []}]),
        ('nodes', 'none'),
        ('space', []),
    ):
        with pytest.raises(ArchitectureError, match=r'not of the kind it should be|is unknown'):
            load_architecture({**document, key: value})
    with pytest.raises(ArchitectureError, match="'format' is 99"):
        load_architecture({**document, 'format': 99})
    del document['layers']
    with pytest.raises(ArchitectureError, match="key 'layers' is missing"):
        load_architecture(document)

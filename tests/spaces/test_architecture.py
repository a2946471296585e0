"""Common behaviour of the architectures of all spaces."""

import copy
import pickle

import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture
from dnas_mmseg.spaces.registry import load_architecture


def test_loading_a_saved_architecture_returns_an_equal_one(tmp_path):
    architecture = load_architecture('dnas_l14_gid5')
    architecture.save(tmp_path / 'a.json')
    again = load_architecture(tmp_path / 'a.json')
    assert again == architecture
    assert hash(again.nodes) == hash(architecture.nodes)
    assert again.provenance == architecture.provenance
    assert load_architecture(architecture.to_document()) == architecture
    assert load_architecture(again) is again


def test_architectures_are_immutable():
    architecture = load_architecture('dnas_l12_gid5')
    with pytest.raises(AttributeError):
        architecture.layers = 3
    with pytest.raises(TypeError):
        architecture.provenance['source'] = 'me'


def test_architectures_can_be_copied_and_pickled():
    architecture = load_architecture('dnas_l12_gid5')
    for again in (copy.deepcopy(architecture), pickle.loads(pickle.dumps(architecture))):
        assert again == architecture
        assert again.provenance == architecture.provenance


def test_path_level_needs_no_nodes():
    path = DNASArchitecture(name='p', level='path', layers=3, path=(0, 1, 1))
    assert load_architecture(path.to_document()) == path
    with pytest.raises(
        ArchitectureError, match="level 'path', but backbone DNAS needs level 'cell'"
    ):
        path.require('dnas', 'cell', by='backbone DNAS')

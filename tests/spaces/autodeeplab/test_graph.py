import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.autodeeplab.graph import pairs, trellis

from .conftest import all_paths


def test_number_of_paths_equals_the_published_one():
    """28,657 over 11 transitions from stride 4, 75,025 with a free first layer."""
    paths = all_paths(12)
    assert len(set(paths)) == len(paths) == 75_025
    assert sum(path[0] == 0 for path in paths) == 28_657
    assert len(pairs(5)) == 20


def test_too_few_layers_raise():
    with pytest.raises(ArchitectureError, match='layers = 2: at least 3'):
        trellis(2)

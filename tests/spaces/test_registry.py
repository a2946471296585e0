"""The table of search spaces."""

import numpy as np
import pytest

from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import random_architecture
from dnas_mmseg.spaces.registry import SPACES


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


def test_stages_follow_each_other():
    space = SPACES['dnas']
    assert space.levels == ['path', 'connection', 'cell']
    assert [space.before(level) for level in space.levels] == [None, 'path', 'connection']
    assert space.stage('cell').config == 'dnas/dnas_l14_cell-search_gid5.py'

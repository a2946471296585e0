from dataclasses import replace

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.halving.plan import (
    SelectionPlan,
    is_selection,
    merge_options,
)
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.work_dir import PLAN_FILE

PLAN = SelectionPlan(
    network=SearchPlan(layers=8, targets=(2e9,), halves=('a.txt', 'b.txt')),
    budget=12,
    rungs=(0.25, 1.0),
    candidates=('gradient',),
    baselines=('hrnet.py',),
    threads=2,
)


def test_save_and_load(tmp_path):
    (tmp_path / PLAN_FILE).write_text(PLAN.to_json(tmp_path))
    assert SelectionPlan.load(tmp_path) == PLAN
    assert is_selection(tmp_path)
    assert PLAN.limit == 2e9
    with pytest.raises(UserError, match='contains a selection, not a gradient search'):
        SearchPlan.load(tmp_path)
    (tmp_path / PLAN_FILE).write_text(SearchPlan().to_json(tmp_path))
    assert not is_selection(tmp_path)
    with pytest.raises(UserError, match='contains a gradient search, not a selection'):
        SelectionPlan.load(tmp_path)
    (tmp_path / PLAN_FILE).write_text('{"strategy": "halving"')
    with pytest.raises(UserError, match='damaged'):
        SelectionPlan.load(tmp_path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'budget': 3.9}, 'budget = 3.9: expected at least 4 full trainings'),
        ({'budget': 4, 'baselines': ('a.py',)}, 'plus one for each baseline'),
        ({'budget': float('nan')}, 'budget = nan'),
        ({'rungs': (1.0, 0.5)}, 'rungs 1, 0.5: expected ascending shares'),
        ({'rungs': (0.5,)}, 'end with 1'),
        ({'rungs': ()}, 'ascending shares'),
        ({'rungs': (0.0, 1.0)}, 'ascending shares'),
        ({'threads': 0}, 'threads = 0'),
        ({'baselines': ('a/hrnet.py', 'b/hrnet.py')}, 'baselines hrnet, hrnet: .* distinct'),
        ({'strategy': 'gradient'}, "strategy 'gradient': expected one of halving, random"),
        ({'strategy': 'random', 'budget': 0.5, 'baselines': ()}, 'at least 1 full trainings'),
        ({'network': SearchPlan(targets=(1e9, 2e9))}, 'a selection supports one limit'),
        (
            {'network': SearchPlan(epochs=3, patience=2), 'candidates': ()},
            r'epochs, patience: settings of a.*--cfg-options train_cfg\.max_epochs=3',
        ),
    ],
)
def test_invalid_plans(changes, message):
    with pytest.raises(UserError, match=message):
        replace(PLAN, **changes)


def test_stage_settings_of_a_gradient_search():
    network = SearchPlan(epochs=3, halves=('a.txt', 'b.txt'))
    plan = replace(PLAN, network=network)
    assert plan.gradient() == SearchPlan(epochs=3)


def test_differences_ignore_folders():
    moved = replace(
        PLAN,
        network=replace(PLAN.network, data_root='/elsewhere', halves=('/x/a.txt', '/x/b.txt')),
        baselines=('/y/hrnet.py',),
    )
    assert moved.differences(PLAN) == []
    other = replace(PLAN, budget=13, network=replace(PLAN.network, layers=9))
    assert other.differences(PLAN) == ['layers: 8, now 9', 'budget: 12, now 13']


def test_random_strategy_has_one_rung(tmp_path):
    plan = replace(PLAN, strategy='random', budget=1, rungs=(0.25, 1.0))
    assert plan.rungs == (1.0,)
    assert SelectionPlan.parse(plan.to_json(tmp_path), 'x', tmp_path) == plan


def test_merge_options(tmp_path):
    config = tmp_path / 'baseline.py'
    config.write_text('')
    plan = merge_options(
        None, {'space': 'dnas', 'budget': 8.0, 'targets': ['2G'], 'baselines': [str(config)]}
    )
    assert (plan.limit, plan.network.cost, plan.baselines) == (2e9, 'macs', (str(config),))
    later = merge_options(plan, {'space': 'dnas', 'data_root': '/data'})
    assert later == replace(plan, network=replace(plan.network, data_root='/data'))

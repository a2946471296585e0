from dataclasses import replace

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.selection.plan import SelectionPlan, is_selection, merge_options
from dnas_mmseg.work_dir import PLAN_FILE

PLAN = SelectionPlan(
    'mine.py',
    hours=8,
    families=('dnas', 'hrnet.py'),
    lists=('a.txt', 'b.txt'),
    limit=2e9,
    layers=8,
    threads=2,
    options={'train_cfg': {'max_epochs': 3}},
)


def test_save_and_load(tmp_path):
    (tmp_path / PLAN_FILE).write_text(PLAN.to_json(tmp_path))
    assert SelectionPlan.load(tmp_path) == PLAN
    assert is_selection(tmp_path)
    with pytest.raises(UserError, match='contains a selection: use dnas select'):
        SearchPlan.load(tmp_path)
    (tmp_path / PLAN_FILE).write_text(SearchPlan().to_json(tmp_path))
    assert not is_selection(tmp_path)
    with pytest.raises(UserError, match='contains a search, not a selection'):
        SelectionPlan.load(tmp_path)
    (tmp_path / PLAN_FILE).write_text('{"hours": 8')
    with pytest.raises(UserError, match='damaged'):
        SelectionPlan.load(tmp_path)
    with pytest.raises(UserError, match='no selection to resume'):
        SelectionPlan.load(tmp_path / 'elsewhere')


def test_a_selection_of_an_older_version_is_named(tmp_path):
    (tmp_path / PLAN_FILE).write_text('{"strategy": "halving", "budget": 24}')
    with pytest.raises(UserError, match='a selection of an older version'):
        SelectionPlan.load(tmp_path)
    with pytest.raises(UserError, match='a selection of an older version, which cannot be resumed'):
        SearchPlan.load(tmp_path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'hours': 0}, 'hours = 0: expected a positive number'),
        ({'hours': float('nan')}, 'hours = nan'),
        ({'hours': float('inf')}, 'hours = inf'),
        ({'threads': 0}, 'threads = 0'),
        ({'layers': 0}, 'layers = 0'),
        ({'seed': -1}, 'seed = -1'),
        ({'limit': -1.0}, 'limit = -1'),
        ({'cost': 'joule'}, "unknown cost 'joule': expected one of macs, params, latency"),
        ({'cost': 'latency'}, '--cost latency requires a --latency-table'),
        ({'ensemble': 1}, 'ensemble = 1: expected 2 or more'),
        ({'prefer': 'speed'}, "prefer 'speed': expected one of accuracy, cost"),
    ],
)
def test_invalid_plans(changes, message):
    with pytest.raises(UserError, match=message):
        replace(PLAN, **changes)


def test_differences_ignore_folders():
    moved = replace(
        PLAN, config='/x/mine.py', data_root='/elsewhere', families=('dnas', '/y/hrnet.py')
    )
    assert moved.differences(PLAN) == []
    assert replace(PLAN, hours=9, layers=9).differences(PLAN) == [
        'hours: 8, now 9', 'layers: 8, now 9'
    ]  # fmt: skip


def test_merge_options(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text('')
    plan = merge_options(
        None, {'config': str(config), 'hours': 2.0, 'limit': '2G', 'families': [str(config)]}
    )
    assert (plan.limit, plan.cost, plan.families) == (2e9, 'macs', (str(config),))
    assert merge_options(plan, {'data_root': '/data'}) == replace(plan, data_root='/data')
    assert merge_options(plan, {}) == plan
    with pytest.raises(UserError, match='--hours is required'):
        merge_options(None, {'config': str(config)})
    with pytest.raises(UserError, match='the unit does not fit'):
        merge_options(None, {'config': str(config), 'hours': 1, 'limit': '2ms', 'cost': 'macs'})

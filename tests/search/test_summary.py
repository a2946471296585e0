from dataclasses import replace

import numpy as np
import pytest

from dnas_mmseg.cost.parts import segmentor_cost
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.search.stages import random_architecture, retrain_config
from dnas_mmseg.search.summary import show_plan, show_result, show_targets
from dnas_mmseg.search.time import StageTime
from dnas_mmseg.spaces.registry import load_architecture


@pytest.fixture(autouse=True)
def _wide_console(monkeypatch):
    monkeypatch.setenv('COLUMNS', '300')


def rows(text):
    """Cells of each line of a table."""
    return [[cell.strip() for cell in line.strip('│').split('│')] for line in text.splitlines()]


def test_show_plan(capsys):
    times = {'path': StageTime(0.5, 2.0, 1000, 4, 2), 'cell': StageTime(1.0, 1.25, 8, 2, 0)}
    show_plan('a search', load_architecture('dnas_l12_gid5@path'), times, retrain=True)
    text = capsys.readouterr().out
    assert 'a search' in text
    assert ['path', '4', '3', '4,000', '0.50 / 2.00', '1:23:20'] in rows(text)
    assert ['cell', '2', '1', '16', '1.00 / 1.25', '0:00:20'] in rows(text)
    assert ['all', '', '', '', '', '1:23:40'] in rows(text)
    assert 'start: dnas_l12_gid5; ' in text
    assert 'retraining and testing follow' in text
    show_plan('a search', None, times, retrain=False)
    text = capsys.readouterr().out
    assert 'start: none; ' in text
    assert 'retraining' not in text


def test_show_result(tmp_path, capsys):
    path = tmp_path / 'architecture.json'
    show_result(load_architecture('dnas_l12_gid5'), path, {'path': 61, 'cell': 3600})
    text = capsys.readouterr().out
    assert 'search complete (path: 0:01:01, cell: 1:00:00)' in text
    assert f'dnas train {tmp_path}/retrain.py' in text
    assert f'dnas report {tmp_path}' in text
    show_result(load_architecture('dnas_l12_gid5@path'), path, {})
    text = capsys.readouterr().out
    assert 'search complete (no stage was left)' in text
    assert 'train.py' not in text  # the architecture is not complete


def test_show_targets(plan, tmp_path, capsys):
    """A network at its target, and one at half of its target."""
    plan = replace(plan, cost='params', targets=(1e5,), cost_size=32)
    network = random_architecture(plan, np.random.default_rng(0), 'random')
    network = replace(network, provenance={'cost': {'predicted': 12_345}})
    network.save(tmp_path / 'architecture.json')
    config = retrain_config(plan, str(tmp_path / 'architecture.json'))
    (tmp_path / 'retrain.py').write_text(config.pretty_text)
    real = segmentor_cost(load_config(tmp_path / 'retrain.py').model, 'params', (32, 32))
    show_targets(plan, [(real, tmp_path), (2 * real, tmp_path)])
    text = capsys.readouterr().out
    first, second = (row for row in rows(text) if row[-1].endswith('retrain.py'))
    assert first[1] == second[1] == '12.35 K parameters'
    assert first[0] == first[2] == second[2]
    assert (first[3], second[3]) == ('+0.0 %', '-50.0 %')
    assert f'note: {second[0]}: this search contains no network closer' in text

"""End-to-end tests of `dnas search`."""

import json

import pytest

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.spaces.dnas.network import DNAS
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, run, run_two
from .conftest import LEVELS

TOOL = ROOT / 'tools/search.py'


def test_two_processes_keep_architecture_parameters_equal(tiny, tmp_path):
    """Parameters are bitwise equal on both ranks after every step, and so are decoded networks."""
    probe = tmp_path / 'probe.py'
    probe.write_text(f"""
import sys
import torch
from mmengine.dist import all_gather, all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
sys.path.insert(0, '{ROOT}')
from dnas_mmseg.search import pipeline as module

class Compare(module.ProgressHook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model.module
        steps = getattr(runner, 'compared', 0)
        for name, tensor in model.named_parameters():
            first, second = all_gather(tensor.detach())
            assert torch.equal(first, second), f'{{name}} differs in step {{steps}}'
        mine = [s.metainfo['img_path'] for s in data_batch['data_samples']]
        first, second = all_gather_object(mine)
        assert not set(first) & set(second), 'both ranks saw the same tiles'
        runner.compared = steps + 1
    def after_train(self, runner):
        decoded = runner.model.module.backbone.decode()
        decoded.save('{tmp_path}/' + f'rank{{get_rank()}}_{{self.level}}.json')
        print(f'compared {{runner.compared}} steps in {{self.level}}')

module.ProgressHook = Compare
from dnas_cli.command_line import user_errors
plan = module.SearchPlan(
    config='{tiny[1]}', layers=4, epochs=3, arch_start=1, crop=32, batch=2)
with user_errors():
    module.search(plan, '{tmp_path}/run', launcher='pytorch')
""")
    code, output = run_two(probe)
    assert code == 0, output[-3000:]
    for level in LEVELS:
        assert output.count(f'compared 3 steps in {level}') == 2
        ranks = [load_architecture(tmp_path / f'rank{rank}_{level}.json') for rank in range(2)]
        assert ranks[0] == ranks[1]
    assert (tmp_path / 'run/retrain.py').is_file()


def test_from_tiles_to_a_retrained_network(tiny, tmp_path):
    work_dir = tmp_path / 'run'
    code, output = run(TOOL, 'dnas', *tiny, '--epochs', 2, '--work-dir', work_dir, '--retrain')
    assert code == 0, output
    assert 'stage connection, epoch 2 of 2' in output
    assert 'in all stages' in output
    assert 'entropy of operation' in output
    found = load_architecture(work_dir / 'architecture.json')
    assert (found.level, found.layers, found.pruned()) == ('cell', 4, found)
    assert found.path == load_architecture(work_dir / 'path.json').path
    assert found.at_level('connection') == load_architecture(work_dir / 'connection.json')
    scores = json.loads((work_dir / 'test/test_scores.json').read_text())
    assert 0 <= scores['mIoU'] <= 100
    history = SearchHistory.load(work_dir / 'cell')
    assert [(e.epoch, e.searching) for e in history.epochs] == [(1, True), (2, True)]
    assert history.epochs[-1].architecture.nodes == found.nodes
    # The config can be moved with its architecture.
    work_dir.rename(tmp_path / 'moved')
    config = load_config(tmp_path / 'moved/retrain.py')
    assert config.work_dir == 'work_dirs/retrain'
    assert DNAS(**{k: v for k, v in config.model.backbone.items() if k != 'type'}).listed == found


def test_dry_run(tiny, tmp_path):
    code, output = run(TOOL, 'dnas', *tiny, '--work-dir', tmp_path / 'run', '--dry-run')
    assert code == 0, output
    for level in LEVELS:
        assert level in output
    assert '0:00:' in output
    assert not (tmp_path / 'run').exists()


def test_halves_of_two_lists(plan, tmp_path):
    lines = (tmp_path / 'data/train.txt').read_text().splitlines(keepends=True)
    for name, part in (('a.txt', lines[:4]), ('b.txt', lines[4:])):
        (tmp_path / name).write_text(''.join(part))
    halves = (str(tmp_path / 'a.txt'), str(tmp_path / 'b.txt'))
    plan = SearchPlan(**{**plan.__dict__, 'halves': halves, 'levels': ('path',)})
    found = search(plan, tmp_path / 'run')
    assert found.level == 'path'
    assert (tmp_path / 'run/path/half_b.txt').read_text() == ''.join(lines[4:])
    assert not (tmp_path / 'run/retrain.py').exists()


def test_plan_overrides_the_seed_only_of_randomness(plan, tmp_path, monkeypatch):
    configs = []

    class Stop(Exception):
        pass

    def record(config):
        configs.append(dict(config.randomness))
        raise Stop

    monkeypatch.setattr('dnas_mmseg.search.pipeline.build_runner', record)
    options = {**plan.options, 'randomness.deterministic': True, 'randomness.seed': 99}
    with pytest.raises(Stop):
        search(SearchPlan(**{**plan.__dict__, 'options': options, 'seed': 5}), tmp_path / 'w')
    assert configs == [dict(deterministic=True, seed=5)]

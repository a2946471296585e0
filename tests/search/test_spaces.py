"""End-to-end tests of the other search spaces."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import MODELS

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.search import pipeline as module
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.search.report import save_search_report
from dnas_mmseg.search.stages import retrain_config, stage_config, supernet_config
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, make_data_root, run, run_two

TOOL = ROOT / 'tools/search.py'

NETWORKS = {
    'autodeeplab': """
_base_ = '{root}/configs/autodeeplab/autodeeplab_s_gid5.py'
model = dict(
    backbone=dict(filters=2, stem_channels=(4, 4, 4)),
    decode_head=dict(channels=8, low_level_channels=4),
)
supernet = dict(layers=3, filters=1, blocks=2)
""",
    'densenas': """
_base_ = '{root}/configs/densenas/densenas_a_gid5.py'
model = dict(decode_head=dict(channels=8, dilations=(1, 2), c1_channels=4))
supernet = dict(
    widths=((4,), (6, 8), (10, 12), (14, 16), (18,)),
    strides=(2, 4, 8, 16, 32),
    depths=(0, 1, 1, 1, 0),
    window=2,
)
""",
}
"""Configs of tiny networks and supernets."""


@pytest.fixture(params=NETWORKS)
def plan(request, tmp_path):
    data_root = make_data_root(tmp_path / 'data', count=14)
    config = tmp_path / 'tiny.py'
    config.write_text(
        NETWORKS[request.param].format(root=ROOT)
        + f"""
data_root = '{data_root}'
tiles = dict(dataset=dict(data_root=data_root))
train_dataloader = dict(num_workers=0, **tiles)
val_dataloader = dict(num_workers=0, **tiles)
test_dataloader = dict(num_workers=0, **tiles)
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=1))
"""
    )
    return SearchPlan(request.param, config=str(config), epochs=3, arch_start=1, crop=32, batch=2)


def options(plan):
    """Command-line arguments of the plan."""
    first = [plan.space, '--config', plan.config, '--epochs', 3, '--arch-start', 1, '--crop', 32]
    return [*first, '--batch', 2]


def test_from_tiles_to_a_retrained_network(plan, tmp_path):
    work_dir = tmp_path / 'run'
    code, output = run(TOOL, *options(plan), '--work-dir', work_dir, '--retrain')
    assert code == 0, output
    assert 'entropy of outgoing' in output
    assert 'left in this stage' in output
    found = load_architecture(work_dir / 'architecture.json')
    assert (found.space, found.level) == (plan.space, 'cell')
    scores = json.loads((work_dir / 'test/test_scores.json').read_text())
    assert 0 <= scores['mIoU'] <= 100
    history = SearchHistory.load(work_dir / 'cell')
    assert [epoch.searching for epoch in history.epochs] == [False, True, True]
    assert history.epochs[-1].architecture.graph == found.graph
    text = save_search_report(work_dir, tmp_path / 'out').read_text()
    for picture in ('graph', 'operations', 'shares', 'course'):
        assert (tmp_path / f'out/cell_{picture}.png').stat().st_size > 5000
    assert all(f'{key} {value}' in text for key, value in found.summary.items())
    # The config can be moved with its architecture.
    work_dir.rename(tmp_path / 'moved')
    config = load_config(tmp_path / 'moved/retrain.py')
    assert load_architecture(config.model.backbone.architecture) == found


@pytest.mark.parametrize('norm', [None, dict(type='GN', num_groups=2)], ids=['default', 'GN'])
def test_cost_target(plan, tmp_path, norm):
    """The cost is that of the retrained network, which is wider than the supernet."""
    target = 30e3
    cost = {'targets': (target,), 'cost': 'params', 'cost_size': 32}
    if norm is not None:
        cost['options'] = {'model.backbone.norm_cfg': norm}
        if plan.space == 'autodeeplab':  # groups must divide the width of the supernet
            cost['options']['supernet.filters'] = 2
    plan = SearchPlan(**{**plan.__dict__, **cost})
    search(plan, tmp_path / 'run')
    config = load_config(tmp_path / 'run/retrain.py')
    found = load_architecture(tmp_path / 'run/architecture.json')
    counted = complexity(config, (32, 32)).parameters
    assert found.provenance['cost']['predicted'] == counted
    assert counted == pytest.approx(target, rel=0.1)


def final_state(folder):
    checkpoint = torch.load(folder / 'cell/epoch_3.pth', weights_only=True)
    history = json.loads(checkpoint['architecture_search']['history'])
    for epoch in history['epochs']:
        del epoch['architecture']['provenance']
    return checkpoint['state_dict'], checkpoint['architecture_search']['optimizer'], history


def test_resumed_search_is_bit_identical(plan, tmp_path, monkeypatch):
    search(plan, tmp_path / 'whole')

    class Interrupt(module.ProgressHook, Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.epoch == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, 'ProgressHook', Interrupt)
        with pytest.raises(KeyboardInterrupt):
            search(plan, tmp_path / 'cut')
    search(plan, tmp_path / 'cut', resume=True)
    whole, cut = final_state(tmp_path / 'whole'), final_state(tmp_path / 'cut')
    for name, tensor in whole[0].items():
        assert torch.equal(cut[0][name], tensor), name
    for index, state in whole[1]['state'].items():
        assert all(torch.equal(cut[1]['state'][index][k], v) for k, v in state.items())
    assert cut[2] == whole[2]


def test_two_processes_keep_everything_equal(plan, tmp_path):
    """Weights and architecture parameters are bitwise equal on both ranks after every step."""
    probe = tmp_path / 'probe.py'
    probe.write_text(f"""
import sys
import torch
from mmengine.dist import all_gather
sys.path.insert(0, '{ROOT}')
from dnas_mmseg.search import pipeline as module

class Compare(module.ProgressHook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for name, tensor in runner.model.module.named_parameters():
            first, second = all_gather(tensor.detach())
            assert torch.equal(first, second), f'{{name}} differs in step {{runner.iter}}'
    def after_train(self, runner):
        print(f'compared {{runner.iter}} steps')

module.ProgressHook = Compare
plan = module.SearchPlan(**{plan.__dict__!r})
module.search(plan, '{tmp_path}/run', launcher='pytorch')
""")
    code, output = run_two(probe)
    assert code == 0, output[-3000:]
    assert output.count('compared 3 steps') == 2
    assert (tmp_path / 'run/retrain.py').is_file()


def test_latency_target(plan, tmp_path):
    table = tmp_path / 'latency.json'
    code, output = run(
        ROOT / 'tools/analysis_tools/measure_latency.py', plan.space, plan.config, table,
        '--size', 32, '--repeat', 1, '--threads', 1,
    )  # fmt: skip
    assert code == 0, output
    supernet = MODELS.build(supernet_config(plan))
    model = retrain_config(plan, supernet.decode()).model
    torch.manual_seed(0)
    latencies = CostTable.load(table, supernet.parts(model, (32, 32)).facts)
    target = supernet.cost_model(latencies).cost(supernet.decode())
    plan = SearchPlan(**{**plan.__dict__, 'targets': (1.1 * target,), 'cost': 'latency',
                         'cost_size': 32, 'latency_table': str(table)})  # fmt: skip
    search(plan, tmp_path / 'run')
    found = load_architecture(tmp_path / 'run/architecture.json').provenance['cost']
    assert found['predicted'] == pytest.approx(1.1 * target, rel=0.15)


@pytest.mark.parametrize('plan', ['autodeeplab'], indirect=True)
def test_search_head_has_the_task_of_the_network(plan):
    """Classes, loss and ignored labels are those of the network's head."""
    head = dict(_delete_=True, type='FCNHead', channels=8, num_classes=3, ignore_index=7)
    plan = SearchPlan(**{**plan.__dict__, 'options': {'model.decode_head': head}})
    searched = stage_config(plan, 'cell', None).model.decode_head
    assert searched.type == 'AutoDeepLabSearchHead'
    assert (searched.num_classes, searched.ignore_index) == (3, 7)
    assert 'loss_decode' not in searched


def test_crops_are_not_padded_to_the_size_of_retraining(plan):
    options = {'model.data_preprocessor.size': (64, 64), 'find_unused_parameters': True}
    plan = SearchPlan(**{**plan.__dict__, 'options': options})
    config = stage_config(plan, 'cell', None)
    assert config.model.data_preprocessor.size == (32, 32)
    assert config.find_unused_parameters  # from the user's options
    assert retrain_config(plan, 'x').model.data_preprocessor.size == [64, 64]

"""The whole search, as `tools/search.py` runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from dnas_mmseg.apis.search import SearchPlan, search, stage_config, stored_plan
from dnas_mmseg.architectures import ArchitectureError, load_architecture
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import exclusive
from dnas_mmseg.search import SearchHistory

from ..conftest import ROOT, make_data_root, run

TOOL = ROOT / 'tools/search.py'
LEVELS = ('path', 'connection', 'cell')


@pytest.fixture
def tiny(tmp_path):
    """Arguments of a search of seconds: two loading workers, crops and flips."""
    data_root = make_data_root(tmp_path / 'data', count=14)
    config = tmp_path / 'tiny.py'
    config.write_text(f"""
_base_ = '{ROOT}/configs/dnas/dnas_l14_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
default_hooks = dict(logger=dict(interval=1))
""")
    return ['--config', config, '--layers', 4, '--epochs', 3, '--crop', 32, '--batch', 2]


def final_state(work_dir):
    """Everything that must not depend on interruptions: results, weights, optimizers, histories."""
    state = {}
    for name in ('path', 'connection', 'architecture'):
        document = load_architecture(work_dir / f'{name}.json').to_document()
        state[name] = {key: document[key] for key in ('level', 'layers', 'path', 'nodes')}
    for level in LEVELS:
        checkpoint = torch.load(work_dir / level / 'epoch_3.pth', weights_only=True)
        history = json.loads(checkpoint['architecture_search']['history'])
        for epoch in history['epochs']:
            del epoch['architecture']['name'], epoch['architecture']['provenance']
        state[level] = (
            checkpoint['state_dict'],
            checkpoint['optimizer'],
            checkpoint['architecture_search']['optimizer'],
            checkpoint['param_schedulers'],
            history,
        )
    return state


def equal(a, b) -> bool:
    """Equal to the bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_killed_at_random_and_resumed_it_ends_bit_identical(tiny, tmp_path):
    command = [sys.executable, '-W', 'ignore', TOOL, 'dnas', *tiny]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    code, output = run(*command[3:], '--work-dir', tmp_path / 'whole')
    assert code == 0, output
    rng = np.random.default_rng()
    kills, log = 0, ''
    while not (tmp_path / 'cut/retrain.py').exists():
        process = subprocess.Popen(
            [str(part) for part in (*command, '--work-dir', tmp_path / 'cut', '--resume')],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        if kills < 4:
            # Some time after training begins, wherever that is: steps, checkpoints, decoding.
            lines = iter(process.stdout.readline, '')
            log += next((line for line in lines if 'before_train_iter' in line), '')
            time.sleep(rng.uniform(0, 3))
            process.send_signal(signal.SIGKILL)
            kills += 1
        rest, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), rest
    assert kills == 4
    assert equal(final_state(tmp_path / 'whole'), final_state(tmp_path / 'cut'))


def test_two_processes_keep_architecture_parameters_equal(tiny, tmp_path):
    """After every step, on both ranks, to the bit; the decoded networks agree."""
    probe = tmp_path / 'probe.py'
    probe.write_text(f"""
import sys
import torch
from mmengine.dist import all_gather, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
sys.path.insert(0, '{ROOT}')
from dnas_mmseg.apis import search as module

class Compare(module._Progress):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model.module
        steps = getattr(runner, 'compared', 0)
        for name, tensor in model.named_parameters():
            first, second = all_gather(tensor.detach())
            assert torch.equal(first, second), f'{{name}} differs in step {{steps}}'
        paths = [s.metainfo['img_path'] for s in data_batch['data_samples']]
        runner.compared = steps + 1
    def after_train(self, runner):
        decoded = runner.model.module.backbone.decode()
        decoded.save('{tmp_path}/' + f'rank{{get_rank()}}_{{self.level}}.json')
        print('compared', runner.compared, 'steps in', self.level)

module._Progress = Compare
from dnas_mmseg.apis.command_line import user_errors
plan = module.SearchPlan(
    config='{tiny[1]}', layers=4, epochs=3, arch_start=1, crop=32, batch=2)
with user_errors():
    module.search(plan, '{tmp_path}/run', launcher='pytorch')
""")
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--nproc_per_node=2',
         '--master_port=29611', probe],
        capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output[-3000:]
    for level in LEVELS:
        assert output.count(f'compared 3 steps in {level}') == 2
        ranks = [load_architecture(tmp_path / f'rank{rank}_{level}.json') for rank in range(2)]
        assert ranks[0] == ranks[1]
    assert (tmp_path / 'run/retrain.py').is_file()


@pytest.fixture
def plan(tiny):
    return SearchPlan(config=str(tiny[1]), layers=4, epochs=1, arch_start=0, crop=32, batch=2)


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
    # The config can be moved with its architecture, and trained as it is.
    (work_dir / 'retrain').rename(tmp_path / 'old')
    work_dir.rename(tmp_path / 'moved')
    code, output = run(
        ROOT / 'tools/train.py', tmp_path / 'moved/retrain.py', '--work-dir', tmp_path / 'again'
    )
    assert code == 0, output


def test_a_dry_run_tells_and_writes_nothing(tiny, tmp_path):
    code, output = run(TOOL, 'dnas', *tiny, '--work-dir', tmp_path / 'run', '--dry-run')
    assert code == 0, output
    for level in LEVELS:
        assert level in output
    assert '0:00:' in output
    assert not (tmp_path / 'run').exists()


def test_resuming_needs_no_other_option_and_refuses_others(plan, tiny, tmp_path):
    search(plan, tmp_path / 'run')
    assert stored_plan(tmp_path / 'run') == plan
    code, output = run(TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume')
    assert code == 0, output
    assert 'nothing was left to do' in output
    code, output = run(
        TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume', '--layers', 5, '--seed', 3
    )
    assert code == 1
    assert 'layers: 4, now 5' in output
    assert 'seed: 0, now 3' in output
    with pytest.raises(UserError, match='holds a search already: --resume'):
        search(plan, tmp_path / 'run')


def test_resuming_says_what_changed_in_an_inherited_config(plan, tiny, tmp_path):
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/architecture.json').unlink()
    text = tiny[1].read_text()
    tiny[1].write_text(text.replace('decode_head=dict(channels=8)', 'decode_head=dict(channels=9)'))
    with pytest.raises(UserError, match=r'cell\.py was written from other settings[^$]*channels=9'):
        search(plan, tmp_path / 'run', resume=True)


def test_a_second_run_in_the_same_work_dir_is_refused(plan, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, '-c',
         'import sys, time; from dnas_mmseg.files import exclusive\n'
         f'with exclusive("{tmp_path}/run"): print("in", flush=True); time.sleep(60)'],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert any('in' in line.split() for line in holder.stdout)
    with pytest.raises(UserError, match=f'in use by another run .process {holder.pid}'):
        search(plan, tmp_path / 'run')
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / 'run'):
        pass


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(space='autodarts'), "space 'autodarts' is unknown; there are dnas"),
        (dict(levels=('path', 'cell')), 'any number of them that follow each other'),
        (dict(levels=()), 'stages none'),
    ],
)
def test_a_plan_that_is_none_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        SearchPlan(**changes)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(levels=('connection',)), "starts from an architecture of level 'path'"),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5'),
            "is of level 'cell', but stage connection needs level 'path'",
        ),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5@path'),
            'has 12 layers, the search is for 4',
        ),
        (dict(architecture='dnas_l12_gid5@path'), 'starts from nothing'),
        (dict(layers=3), 'at least 4 are needed'),
        (dict(batch=8), '6 tiles to train on .in each process. do not fill a batch of 8'),
        (dict(arch_start=1), 'begin in epoch 1 .counted from 0., but there are 1 epochs'),
    ],
)
def test_what_cannot_work_is_refused_before_training(plan, tmp_path, changes, message):
    with pytest.raises((UserError, ArchitectureError), match=message):
        search(SearchPlan(**{**plan.__dict__, **changes}), tmp_path / 'run')
    assert not list((tmp_path / 'run').rglob('*.pth'))


def test_two_lists_are_the_halves(plan, tmp_path):
    lines = (tmp_path / 'data/train.txt').read_text().splitlines(keepends=True)
    for name, part in (('a.txt', lines[:4]), ('b.txt', lines[4:])):
        (tmp_path / name).write_text(''.join(part))
    halves = (str(tmp_path / 'a.txt'), str(tmp_path / 'b.txt'))
    plan = SearchPlan(**{**plan.__dict__, 'halves': halves, 'levels': ('path',)})
    found = search(plan, tmp_path / 'run')
    assert found.level == 'path'
    stored = (tmp_path / 'run/path/half_b.txt').read_text().split()
    assert stored == [line.split()[0].removeprefix('images/') for line in lines[4:]]
    assert not (tmp_path / 'run/retrain.py').exists()


def test_a_stage_is_a_config_of_its_own(plan, tmp_path):
    changed = SearchPlan(**{**plan.__dict__, 'base_channels': 6, 'recompute': True})
    config = stage_config(changed, 'cell', 'dnas_l12_gid5@connection')
    assert config.model.backbone == dict(
        type='DNASCellSupernet', architecture='dnas_l12_gid5@connection', in_channels=4,
        base_channels=6, with_cp=True,
    )  # fmt: skip
    assert config.model.decode_head.channels == 8
    assert config.val_dataloader is None
    crops = [step for step in config.train_dataloader.dataset.pipeline if 'crop_size' in step]
    assert [step.crop_size for step in crops] == [(32, 32)]


def test_stages_can_be_run_one_after_another(plan, tmp_path):
    work_dir = tmp_path / 'run'
    first = SearchPlan(**{**plan.__dict__, 'levels': ('path',)})
    path = search(first, work_dir)
    rest = SearchPlan(**{**plan.__dict__, 'levels': ('connection', 'cell')})
    found = search(rest, work_dir, resume=True)
    assert (found.level, found.path) == ('cell', path.path)
    assert "fileDirname }}/path.json'" in (work_dir / 'connection.py').read_text()

"""What a search refuses, before it costs time or overwrites anything."""

import subprocess
import sys
from dataclasses import replace

import pytest

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder
from dnas_mmseg.spaces.architecture import ArchitectureError

from .conftest import LEVELS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(targets=(1.0,)),
            r'target 1 multiply-adds: what can be reached from here costs .* to ',
        ),
        (dict(targets=(1e15,)), r'target 1e.06 G multiply-adds: what can be reached'),
        (dict(targets=(1e5,), cost='flops'), "cost 'flops' is unknown: there are macs"),
        (dict(targets=(1e5, 1.00001e5)), 'targets 100K, 100K: too near to each other'),
        (dict(cost='params'), 'a cost without targets does nothing'),
        (dict(targets=(0.1,), cost='latency'), r'a measured table .dnas measure-latency'),
        (dict(targets=(0.1,), cost='latency', latency_table='no.json'), r'no\.json: no such table'),
    ],
)
def test_costs_that_cannot_be(plan, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        search(replace(plan, **{'cost_size': 32, **changes}), tmp_path / 'run', dry_run=True)
    assert not (tmp_path / 'run').exists()


def test_a_second_run_in_the_same_work_dir_is_refused(plan, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, '-c',
         'import sys, time; from dnas_mmseg.files import lock_folder\n'
         f'with lock_folder("{tmp_path}/run"): print("in", flush=True); time.sleep(60)'],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert any('in' in line.split() for line in holder.stdout)
    with pytest.raises(UserError, match=f'in use by another run .process {holder.pid}'):
        search(plan, tmp_path / 'run')
    holder.kill()
    holder.wait()
    with lock_folder(tmp_path / 'run'):
        pass


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


def test_a_plan_that_could_not_work_leaves_the_work_dir_free(plan, tmp_path):
    with pytest.raises(UserError, match='begin in epoch 1'):
        search(SearchPlan(**{**plan.__dict__, 'arch_start': 1}), tmp_path / 'run')
    assert search(replace(plan, levels=('path',)), tmp_path / 'run').level == 'path'


@pytest.mark.parametrize('planned', [False, True], ids=['no search', 'one that did not begin'])
@pytest.mark.parametrize('name', [*LEVELS, 'retrain'])
def test_files_that_no_search_wrote_are_left_alone(plan, tmp_path, name, planned):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    mine = work_dir / f'{name}.py'
    mine.write_text('# mine\n')
    if planned:
        (work_dir / 'search.json').write_text(plan.to_json(work_dir))
    with pytest.raises(UserError, match=rf'{name}\.py is there, and no search has written it'):
        search(plan, work_dir)
    assert mine.read_text() == '# mine\n'


def test_a_search_json_that_no_search_wrote_is_left_alone(plan, tmp_path):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    (work_dir / 'search.json').write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r'search\.json is damaged'):
        search(plan, work_dir)
    assert (work_dir / 'search.json').read_text() == '{"mine": 1}'


def test_classes_that_do_not_fit_stop_a_search_before_its_first_step(plan, tmp_path):
    options = {'model.decode_head.num_classes': 4}
    with pytest.raises(UserError, match=r'num_classes=4, but the training data set has 5 classes'):
        search(SearchPlan(**{**plan.__dict__, 'options': options}), tmp_path / 'w')

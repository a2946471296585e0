"""Searches that fail before they train or overwrite anything."""

import time
from dataclasses import replace

import pytest

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder
from dnas_mmseg.spaces.architecture import ArchitectureError

from ..conftest import Program
from .conftest import LEVELS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(targets=(1.0,)),
            r'target 1 multiply-adds is not reachable; reachable costs are .* to ',
        ),
        (dict(targets=(1e15,)), r'target 1e.06 G multiply-adds is not reachable'),
        (dict(targets=(1e5,), cost='flops'), "unknown cost 'flops': expected one of macs"),
        (dict(targets=(1e5, 1.00001e5)), 'targets 100K, 100K: too close to each other'),
        (dict(cost='params'), '--cost and --latency-table require --targets'),
        (dict(targets=(0.1,), cost='latency'), 'requires a table of dnas measure-latency'),
        (dict(targets=(0.1,), cost='latency', latency_table='no.json'), r'no\.json: no such table'),
    ],
)
def test_invalid_costs(plan, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        search(replace(plan, **{'cost_size': 32, **changes}), tmp_path / 'run', dry_run=True)
    assert not (tmp_path / 'run').exists()


def test_work_dirs_that_configs_cannot_name(plan, tmp_path):
    for name in ("it's", 'back\\slash'):
        with pytest.raises(UserError, match='apostrophe, a backslash or a line break'):
            search(plan, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_pooled_value_per_channel(plan, tiny, tmp_path):
    """Before the timing of a step, which would fail."""
    with tiny[1].open('a') as file:
        file.write(
            'model = dict(backbone=dict(base_channels=2), decode_head=dict(_delete_=True, '
            "type='PSPHead', channels=4, pool_scales=(1, 2), num_classes=5, norm_cfg=dict("
            "type='BN'), loss_decode=dict(type='LabelledCrossEntropyLoss')))\n"
        )
    with pytest.raises(UserError, match='batch norm cannot train on one value per channel'):
        search(replace(plan, batch=1), tmp_path / 'run', dry_run=True)


def test_a_replaced_network_is_announced_first(plan, tmp_path, capsys):
    other = replace(plan, config='dnas_mmseg::unet/fcn_unet_s5_naip.py', levels=('cell',))
    with pytest.raises(ArchitectureError, match='requires an architecture'):
        search(other, tmp_path / 'run', dry_run=True)
    assert 'note: dnas_mmseg::unet/fcn_unet_s5_naip.py has no network' in capsys.readouterr().out


def test_work_dir_in_use(plan, tmp_path, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.files._LOCK_TIMEOUT', 0.5)
    program = tmp_path / 'holder.py'
    program.write_text(
        'import time; from dnas_mmseg.files import lock_folder\n'
        f'with lock_folder("{tmp_path}/run"): print("in", flush=True); time.sleep(60)'
    )
    holder = Program(program)
    while 'in' not in holder.output().split():
        assert holder.running()
        time.sleep(0.01)
    with pytest.raises(UserError, match=f'in use by another run .process {holder.pid}'):
        search(plan, tmp_path / 'run')
    holder.kill()
    holder.wait()
    with lock_folder(tmp_path / 'run'):
        pass


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(levels=('connection',)), "requires an architecture of level 'path'"),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5'),
            "is of level 'cell', but stage connection needs level 'path'",
        ),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5@path'),
            'has 12 layers, expected 4',
        ),
        (dict(architecture='dnas_l12_gid5@path'), 'supports no --architecture'),
        (dict(layers=3), 'at least 4 are required'),
        (dict(batch=8), '6 training tiles per process do not fill a batch of 8'),
        (dict(arch_start=1), 'epoch 1 .counted from 0. is not among the 1 epochs'),
    ],
)
def test_invalid_plans_fail_before_training(plan, tmp_path, changes, message):
    with pytest.raises((UserError, ArchitectureError), match=message):
        search(SearchPlan(**{**plan.__dict__, **changes}), tmp_path / 'run')
    assert not list((tmp_path / 'run').rglob('*.pth'))


def test_work_dir_is_free_after_an_invalid_plan(plan, tmp_path):
    with pytest.raises(UserError, match=r'epoch 1 .counted from 0. is not among'):
        search(SearchPlan(**{**plan.__dict__, 'arch_start': 1}), tmp_path / 'run')
    assert search(replace(plan, levels=('path',)), tmp_path / 'run').level == 'path'


@pytest.mark.parametrize('planned', [False, True], ids=['no search', 'search that did not start'])
@pytest.mark.parametrize('name', [*LEVELS, 'retrain'])
def test_other_files_are_not_overwritten(plan, tmp_path, name, planned):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    mine = work_dir / f'{name}.py'
    mine.write_text('# mine\n')
    if planned:
        (work_dir / 'search.json').write_text(plan.to_json(work_dir))
    with pytest.raises(UserError, match=rf'{name}\.py exists and was not written by a search'):
        search(plan, work_dir)
    assert mine.read_text() == '# mine\n'


def test_other_search_json_is_not_overwritten(plan, tmp_path):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    (work_dir / 'search.json').write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r'search\.json is damaged'):
        search(plan, work_dir)
    assert (work_dir / 'search.json').read_text() == '{"mine": 1}'


def test_wrong_number_of_classes(plan, tmp_path):
    options = {'model.decode_head.num_classes': 4}
    with pytest.raises(UserError, match=r'num_classes=4, but the training data set has 5 classes'):
        search(SearchPlan(**{**plan.__dict__, 'options': options}), tmp_path / 'w')

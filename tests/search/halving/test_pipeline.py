"""End-to-end tests of selections."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from dnas_mmseg.apis import select_network
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.search.halving.networks import SpaceCandidates
from dnas_mmseg.search.halving.pipeline import count_trainings, estimate_budget, load_shared_plan
from dnas_mmseg.search.halving.result import Leaderboard, save_results
from dnas_mmseg.search.selection.study import StorageError, TrainingQueue, public_name
from dnas_mmseg.spaces.registry import load_architecture

from ...conftest import ROOT, run

TOOL = ROOT / 'tools/search.py'


def _options(tiny, work_dir, *more):
    return [
        'dnas', '--strategy', 'halving', '--config', tiny, '--layers', 4, '--cost-size', 64,
        '--budget', 4, '--rungs', '1/2', 1, '--threads', 1, '--work-dir', work_dir, *more,
    ]  # fmt: skip


def test_from_tiles_to_a_trained_network(tiny, tmp_path):
    work_dir = tmp_path / 'run'
    code, output = run(TOOL, *_options(tiny, work_dir, '--workers', 2))
    assert code == 0, output
    assert 'rung' in output
    assert 'in parallel; estimated end' in output
    board = json.loads((work_dir / 'leaderboard.json').read_text())
    assert not board['running']
    found = load_architecture(work_dir / 'architecture.json')
    assert (found.level, found.layers) == ('cell', 4)
    scores = json.loads((work_dir / 'final/test/test_scores.json').read_text())
    assert 0 <= scores['mIoU'] <= 100
    assert board['test_mIoU'] == scores['mIoU']
    tested = (
        f' Trained on the whole training list, it reaches {scores["mIoU"]:.2f} % on the test tiles.'
    )
    assert tested in board['verdict']
    assert board['verdict'].replace(tested, '') in output  # printed before the final training
    assert list((work_dir / 'final').glob('*.pth'))
    # All trainings are complete, and their checkpoints removed.
    assert len(list(work_dir.glob('trainings/*/result.json'))) == 6
    assert not list(work_dir.glob('trainings/*/*.pth'))
    config = load_config(work_dir / 'retrain.py')
    assert config.model.backbone.architecture == str(work_dir / 'architecture.json')
    assert config.train_dataloader.dataset.ann_file == 'train.txt'  # all tiles

    before = {path: path.stat().st_mtime_ns for path in work_dir.glob('trainings/*/result.json')}
    code, output = run(TOOL, 'dnas', '--work-dir', work_dir)
    assert code == 1
    assert 'already contains a selection: resume it with --resume' in output
    code, output = run(TOOL, 'dnas', '--work-dir', work_dir, '--resume', '--budget', 5)
    assert code == 1
    assert 'budget: 4.0, now 5.0' in output
    code, output = run(TOOL, 'dnas', '--work-dir', work_dir, '--resume', '--storage', 'other.log')
    assert code == 1
    assert 'other.log: no such file, so no selection to resume' in output
    code, output = run(TOOL, 'dnas', '--work-dir', work_dir, '--resume')
    assert code == 0, output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # The work dir has no absolute paths and can be moved without the user's config.
    moved = work_dir.rename(tmp_path / 'elsewhere')
    tiny.unlink()
    code, output = run(TOOL, 'dnas', '--work-dir', moved, '--resume')
    assert code == 0, output
    expected = {moved / path.relative_to(work_dir): time for path, time in before.items()}
    assert {path: path.stat().st_mtime_ns for path in expected} == expected
    assert not work_dir.exists()
    for name in ('search.json', 'retrain.py', 'pace.json'):
        assert str(tmp_path) not in (moved / name).read_text()


def test_dry_run(plan, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the lists of a relative work dir are not in the data root
    assert select_network(plan, 'run', dry_run=True) is None
    output = capsys.readouterr().out
    assert 'selection in space dnas, budget 4' in output
    assert not (tmp_path / 'run/search.json').exists()
    left = {path.name for path in (tmp_path / 'run').iterdir()}
    assert left <= {'.lock', '.lock_owner'}


@pytest.mark.parametrize(
    ('changes', 'initial', 'counts'),
    [
        ({'budget': 4.0}, 0, [4, 2]),
        ({'budget': 12.0, 'rungs': (1 / 9, 1.0)}, 2, [54, 6]),
        ({'budget': 12.0, 'rungs': (1 / 9, 1 / 3, 1.0)}, 0, [27, 9, 6]),
        ({'budget': 12.0, 'rungs': (1.0,)}, 0, [12]),
        ({'budget': 12.0, 'baselines': ('a.py', 'b.py')}, 0, [12, 6]),
        ({'budget': 12.0, 'strategy': 'random', 'baselines': ('a.py',)}, 2, [12]),
    ],
)
def test_count_trainings(plan, changes, initial, counts):
    plan = replace(plan, **changes)
    assert count_trainings(plan, plan.rungs, initial) == counts


def test_estimate_budget(plan, tmp_path):
    budget = estimate_budget(plan, tmp_path / 'run', hours=1, workers=2)
    assert budget == int(budget) > 50
    with pytest.raises(UserError, match='1e-06 hours: a full training takes about'):
        estimate_budget(plan, tmp_path / 'run', hours=1e-6, workers=1)


def test_joining_requires_the_same_plan_data_config_and_version(plan, tiny, tmp_path):
    storage = str(tmp_path / 'trials.log')
    with pytest.raises(UserError, match='--join requires the --storage'):
        select_network(plan, tmp_path / 'a', join=True)
    with pytest.raises(StorageError, match='no such file'):
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    queue = TrainingQueue(storage, {})
    with pytest.raises(StorageError, match='has not started'):
        load_shared_plan(storage)
    queue.set_metadata('plan', replace(plan, budget=5).to_json(tmp_path / 'a'))
    queue.set_metadata('given', [])
    queue.set_metadata('pace', {})
    queue.set_metadata('data', 'x')
    assert load_shared_plan(storage).budget == 5
    with pytest.raises(StorageError, match='budget: 5'):
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    queue.set_metadata('plan', plan.to_json(tmp_path / 'a'))
    queue.set_metadata('version', '0.0.1')
    with pytest.raises(StorageError) as raised:
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    message = str(raised.value)
    assert 'data: the checksums differ' in message
    assert 'config: the checksums differ' in message
    assert 'version: 0.0.1, now' in message
    queue.set_metadata('plan', replace(plan, budget=5).to_json(tmp_path / 'a'))
    # A new selection cannot use the storage either.
    with pytest.raises(StorageError, match='contains another selection'):
        select_network(plan, tmp_path / 'b', storage=storage)
    assert not (tmp_path / 'b/search.json').exists()


def test_joining_runs_no_code_of_the_storage(plan, tiny, tmp_path, monkeypatch):
    """Config and options are those of the joining command, compared before anything is built."""
    mark, storage = tmp_path / 'mark', str(tmp_path / 'trials.log')
    evil = {'train_dataloader.dataset': {'type': 'os.system', 'command': f'touch {mark}'}}
    network = replace(plan.network, options=evil, config=str(tmp_path / 'evil.py'))
    (tmp_path / 'evil.py').write_text(f'import os\nos.system("touch {mark}")\n')
    queue = TrainingQueue(storage, {})
    evil_plan = replace(plan, network=network, baselines=('evil.py',), budget=6)
    queue.set_metadata('plan', evil_plan.to_json(tmp_path))
    queue.set_metadata('given', [])
    queue.set_metadata('pace', {})
    shared = load_shared_plan(storage)
    assert (shared.network.options, shared.network.config, shared.baselines) == ({}, None, ())
    for joined in (plan, replace(plan, network=replace(plan.network, config=None))):
        with pytest.raises(StorageError, match='options: '):
            select_network(joined, tmp_path / 'W', storage=storage, join=True)
    assert not mark.exists()


def test_passwords_are_hidden(plan, tmp_path):
    secret = 'postgresql+psycopg://me:s3cret@127.0.0.1:1/none?connect_timeout=1'
    assert public_name(secret).startswith('postgresql+psycopg://me:***@127.0.0.1:1/none')
    assert public_name('odd://me:s3cret@host') == 'odd://me:***@host'
    with pytest.raises(StorageError) as raised:
        TrainingQueue('nonesuch://me:s3cret@host/name', {})
    assert 's3cret' not in str(raised.value)
    board = Leaderboard(plan, SpaceCandidates(plan), [])
    save_results(board, tmp_path, True, secret)
    page = (tmp_path / 'report.html').read_text()
    assert 's3cret' not in page
    assert 'me:***@127' in page


def test_error_for_a_limit_without_candidates(plan, tmp_path):
    limited = replace(plan, network=replace(plan.network, targets=(1.0,)))
    with pytest.raises(UserError, match='increase the limit'):
        select_network(limited, tmp_path / 'run')


@pytest.mark.long
def test_killed_resumed_and_joined_selections_are_bit_identical(tiny, tmp_path):
    """A worker is killed, then the command; the next one is cancelled as by a batch system; the
    last one resumes, and another one joins. All use the pace of the uninterrupted selection."""
    more = ['--budget', 6, '--cfg-options', 'train_dataloader.num_workers=1']
    code, output = run(TOOL, *_options(tiny, tmp_path / 'one', *more))
    assert code == 0, output
    expected = json.loads((tmp_path / 'one/leaderboard.json').read_text())

    work_dir, storage = tmp_path / 'many', tmp_path / 'shared/trials.log'
    pace = TrainingQueue(str(tmp_path / 'one/trials.log'), {}, join=True).get_metadata('pace')
    TrainingQueue(str(storage), {}).set_metadata('pace', pace)
    options = _options(tiny, work_dir, *more, '--workers', 2, '--storage', storage)

    def start(*command):
        return subprocess.Popen(
            [sys.executable, '-W', 'ignore', *map(str, (TOOL, *command))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def results():
        return sorted(work_dir.glob('trainings/*/result.json'))

    def wait_for(count, process):
        end = time.monotonic() + 180
        while len(results()) < count:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.1)

    first = start(*options)
    wait_for(1, first)
    children = subprocess.run(
        ['pgrep', '-P', str(first.pid), '-f', 'spawn_main'], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    wait_for(3, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = {path: path.read_text() for path in results()}

    stopped = start(*options, '--resume')
    wait_for(len(done) + 1, stopped)
    for _ in range(2):
        os.killpg(stopped.pid, signal.SIGTERM)
    output, _ = stopped.communicate(timeout=60)
    assert 'interrupted; resume with' in output
    workers = ['pgrep', '-g', str(stopped.pid), '-f', 'spawn_main']
    assert subprocess.run(workers).returncode == 1  # no process matches
    assert 'Traceback' not in output
    for log in work_dir.glob(f'workers/*-{stopped.pid}-*.txt'):
        assert 'Traceback' not in log.read_text()
    done = {path: path.read_text() for path in results()}

    again = start(*options, '--resume')
    wait_for(len(done) + 1, again)
    helper = start(
        'dnas', '--strategy', 'halving', '--join', '--storage', storage, '--workers', 2,
        '--work-dir', tmp_path / 'helper', '--config', tiny, *more[2:],
    )  # fmt: skip
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    helped, _ = helper.communicate(timeout=120)
    assert helper.returncode == 0, helped
    found = json.loads((work_dir / 'leaderboard.json').read_text())
    for board in (expected, found):
        for candidate in board['candidates']:
            del candidate['seconds']
    assert found == expected
    assert {path: path.read_text() for path in done} == done  # no training was repeated
    assert load_architecture(work_dir / 'architecture.json') == replace(
        load_architecture(tmp_path / 'one/architecture.json'), name='many'
    )


@pytest.mark.long
def test_initial_candidates_baselines_and_a_gradient_search(tiny, tmp_path):
    work_dir = tmp_path / 'run'
    path = tmp_path / 'given.json'
    code, output = run(
        'tools/analysis_tools/random_architecture.py', 'dnas', path, '--layers', 4, '--seed', 7
    )
    assert code == 0, output
    options = _options(
        tiny, work_dir, '--budget', 6, '--epochs', 1, '--arch-start', 0, '--crop', 32, '--batch', 2,
        '--candidates', path, 'gradient', '--baselines', 'configs/pspnet/pspnet_r18-d8_naip.py',
    )  # fmt: skip
    code, output = run(TOOL, *options)
    assert code == 0, output
    board = json.loads((work_dir / 'leaderboard.json').read_text())
    kinds = [candidate['kind'] for candidate in board['candidates']]
    assert kinds.count('given') == 2
    assert kinds.count('baseline') == 1
    assert (work_dir / 'gradient/architecture.json').is_file()
    assert 'pspnet_r18-d8_naip' in board['verdict']

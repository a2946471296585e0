"""End-to-end tests of selections, with the installed command."""

import csv
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from importlib.metadata import version

import pytest

from dnas_mmseg.apis import select_network
from dnas_mmseg.engine.checkpoints import read_checkpoint
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.selection.leaderboard import Leaderboard
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.queue import StorageError, TrainingQueue, public_name
from dnas_mmseg.selection.report import save_results
from dnas_mmseg.selection.run import load_shared_plan
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import DNAS, Program


def dnas(*arguments):
    """Run the installed command; return its exit code and output."""
    program = Program(DNAS, *arguments)
    return program.wait(), program.output()


@pytest.fixture
def options(tiny, plain_unet, pace, tmp_path):
    """Function that returns the options of a selection of six short trainings."""
    path = tmp_path / 'given_pace.json'
    path.write_text(json.dumps(pace.to_document()))

    def build(work_dir, *more):
        return [
            'select', '--config', tiny, '--hours', 0.01, '--families', 'dnas', plain_unet,
            '--layers', 4, '--cost-size', 64, '--threads', 1, '--pace', path,
            '--work-dir', work_dir, *more,
        ]  # fmt: skip

    return build


def results(work_dir):
    return {path: path.read_text() for path in sorted(work_dir.glob('trainings/*/rung_*.json'))}


def leaderboard(work_dir):
    board = json.loads((work_dir / 'leaderboard.json').read_text())
    for candidate in board['candidates']:
        del candidate['seconds']
    return board


def test_from_tiles_to_a_trained_network(options, tiny, tmp_path):
    work_dir = tmp_path / 'run'
    code, output = dnas(*options(work_dir, '--workers', 2))
    assert code == 0, output
    assert 'a promotion continues the training; estimated end' in output
    board = json.loads((work_dir / 'leaderboard.json').read_text())
    assert not board['running']
    assert {c['family'] for c in board['candidates']} == {'dnas', 'small_unet'}
    # Four trainings of an epoch, of which two continue to three epochs; one seat for each kind.
    assert sorted(c['epochs'] for c in board['candidates']) == [1, 1, 3, 3]
    finalists = [c for c in board['candidates'] if c['epochs'] == 3]
    assert {c['family'] for c in finalists} == {'dnas', 'small_unet'}
    assert board['front']
    assert len(results(work_dir)) == 6
    # Only the finalists keep their checkpoints.
    assert len(list(work_dir.glob('trainings/*/*/*.pth'))) == 2
    scores = json.loads((work_dir / 'final/test/test_scores.json').read_text())
    assert board['test_mIoU'] == scores['mIoU']
    assert f'reaches {scores["mIoU"]:.2f} % on the test tiles' in board['verdict']
    curves = list(csv.DictReader((work_dir / 'curves.csv').open()))
    assert {row['epoch'] for row in curves} >= {'1', '3'}
    winner = board['candidates'][0]
    config = load_config(work_dir / 'retrain.py')
    assert config.train_dataloader.dataset.ann_file == 'train.txt'  # all tiles
    if winner['family'] == 'dnas':
        assert load_architecture(work_dir / 'architecture.json').layers == 4
        assert config.model.backbone.architecture == str(work_dir / 'architecture.json')
    # The final training starts from the weights of the winner, with its own schedule.
    (last,) = (work_dir / 'final').glob('epoch_*.pth')
    assert last.name == 'epoch_2.pth'  # as long as the last rung, on more tiles
    log = next((work_dir / 'final').glob('*/*.log')).read_text()
    kept = [
        path for path in work_dir.glob('trainings/*/rung_1/epoch_2.pth') if f'from {path}' in log
    ]
    assert [path.parents[1].name for path in kept] == [f'{winner["name"]}-0']
    rates = [read_checkpoint(p)['optimizer']['param_groups'][0]['lr'] for p in (*kept, last)]
    assert rates == [0.0, 0.0]  # both have followed their schedule to its end

    before = results(work_dir)
    code, output = dnas('select', '--work-dir', work_dir, '--config', tiny, '--hours', 1)
    assert code == 1
    assert 'already contains a selection: resume it with --resume' in output
    code, output = dnas('select', '--work-dir', work_dir, '--resume', '--hours', 5)
    assert code == 1
    assert 'hours: 0.01, now 5' in output
    code, output = dnas('select', '--work-dir', work_dir, '--resume', '--storage', 'other.log')
    assert code == 1
    assert 'other.log: no such file, so no selection to resume' in output
    # The work dir has no absolute paths and can be moved without the user's config.
    moved = work_dir.rename(tmp_path / 'elsewhere')
    tiny.unlink()
    code, output = dnas('select', '--work-dir', moved, '--resume')
    assert code == 0, output
    assert list(results(moved).values()) == list(before.values())
    assert not work_dir.exists()
    assert str(tmp_path) not in (moved / 'retrain.py').read_text()


def test_dry_run(plan, pace, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the lists of a relative work dir are not in the data root
    (tmp_path / 'pace.json').write_text(json.dumps(pace.to_document()))
    assert select_network(plan, 'run', dry_run=True, pace='pace.json') is None
    output = capsys.readouterr().out
    assert 'selection in 0:00:12' in output
    assert 'note: lengths of --pace, for 0.00333 hours, apply: not --hours' in output
    assert not (tmp_path / 'run/search.json').exists()
    left = {path.name for path in (tmp_path / 'run').iterdir()}
    assert left <= {'.lock', '.lock_owner'}


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (
            'val_evaluator = dict(_delete_=True, type="IoUMetric", iou_metrics=["mDice"])',
            'val_evaluator computes aAcc, mDice, mAcc, but a selection requires mIoU',
        ),
        (
            'val_evaluator = dict(_delete_=True, type="IoUMetric", iou_metrics=["IoU"])',
            r"val_evaluator cannot score a tile: KeyError: .*'IoU'",
        ),
        (
            'test_dataloader = dict(dataset=dict(data_root=data_root, ann_file="images.txt", '
            'data_prefix=dict(seg_map_path=None)))',
            'the test data have no labels',
        ),
        ('test_evaluator = None', 'requires test_evaluator and test_cfg'),
    ],
)
def test_candidates_and_winner_must_be_scored(plan, tiny, tmp_path, monkeypatch, setting, message):
    """It is known before networks are timed."""
    monkeypatch.setattr('dnas_mmseg.selection.run._SelectionRun._measure', interrupt)
    plan = replace(plan, families=('dnas',))
    (tmp_path / 'data/images.txt').write_text('images/t_12_0.tif\n')
    tiny.write_text(f'{tiny.read_text()}{setting}\n')
    for is_dry in (True, False):
        with pytest.raises(UserError, match=message):
            select_network(plan, tmp_path / 'run', dry_run=is_dry)
    assert not (tmp_path / 'run/trials.log').exists()


def test_a_note_for_candidates_whose_epoch_is_long(plan, pace, tmp_path, capsys):
    slow = replace(pace, candidates={'small_unet': 100.0})
    (tmp_path / 'pace.json').write_text(json.dumps(slow.to_document()))
    select_network(plan, tmp_path / 'run', dry_run=True, pace=tmp_path / 'pace.json')
    assert 'note: an epoch of small_unet takes 0:01:40, longer than' in capsys.readouterr().out


def test_a_queue_of_an_older_version_is_not_resumed(plan, pace, tmp_path, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.selection.run._SelectionRun._measure', interrupt)
    with pytest.raises(KeyboardInterrupt):
        select_network(plan, tmp_path / 'run')
    journal = tmp_path / 'run/trials.log'
    lines = [line for line in journal.read_text().splitlines() if '"format"' not in line]
    journal.write_text('\n'.join(lines) + '\n')  # as before it was stored
    with pytest.raises(StorageError, match='format: None, now 4; start a new selection'):
        select_network(plan, tmp_path / 'run', resume=True)


def interrupt(*_):
    raise KeyboardInterrupt


def test_hours_that_allow_no_second_candidate(tiny, small_unet, tmp_path):
    """The first candidate is trained for all of them, and the command says so."""
    work_dir = tmp_path / 'run'
    code, output = dnas(
        'select', '--config', tiny, '--hours', 0.0045, '--families', small_unet, '--work-dir',
        work_dir, '--threads', 1, '--cfg-options', 'train_dataloader.batch_size=2',
    )  # fmt: skip
    assert code == 0, output
    assert 'hours do not suffice to compare candidates: small_unet is trained' in output
    assert (work_dir / 'final/test/test_scores.json').is_file()
    assert not (work_dir / 'trainings').exists()


def test_names_of_networks_that_are_not_tried(plan, pace, tmp_path, capsys):
    small = replace(pace, lengths=Lengths((3.0,), 1.0, 12.0, 0.1))
    (tmp_path / 'pace.json').write_text(json.dumps(small.to_document()))
    path = tmp_path / 'a.json'
    load_architecture('dnas_l12_gid5').save(path)
    select_network(
        replace(plan, layers=12), tmp_path / 'run', dry_run=True, pace=tmp_path / 'pace.json'
    )
    output = capsys.readouterr().out
    assert 'note: the time does not suffice for small_unet; increase --hours' in output


def test_joining_requires_the_same_plan_data_config_and_version(plan, tmp_path):
    storage = str(tmp_path / 'trials.log')
    with pytest.raises(UserError, match='--join requires the --storage'):
        select_network(plan, tmp_path / 'a', join=True)
    with pytest.raises(StorageError, match='no such file'):
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    queue = TrainingQueue(storage, {})
    with pytest.raises(StorageError, match='has not started'):
        load_shared_plan(storage)
    queue.set_metadata('plan', replace(plan, hours=5).to_json(tmp_path / 'a'))
    queue.set_metadata('pace', {})
    queue.set_metadata('data', 'x')
    assert load_shared_plan(storage).hours == 5
    with pytest.raises(StorageError, match='hours: 5'):
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    queue.set_metadata('plan', plan.to_json(tmp_path / 'a'))
    queue.set_metadata('version', '0.0.1')
    with pytest.raises(StorageError) as raised:
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    message = str(raised.value)
    assert 'version: 0.0.1, now' in message
    assert 'format: None, now' in message
    assert 'Repeat its' not in message
    queue.set_metadata('version', version('dnas_mmseg'))
    queue.set_metadata('format', message.split('format: None, now ')[1].split(';')[0])
    with pytest.raises(StorageError, match='Repeat its --config') as raised:
        select_network(plan, tmp_path / 'a', storage=storage, join=True)
    assert 'data: the checksums differ' in str(raised.value)
    assert 'config: the checksums differ' in str(raised.value)
    queue.set_metadata('plan', '{"strategy": "halving", "budget": 24}')
    with pytest.raises(UserError, match='contains a selection of an older version'):
        load_shared_plan(storage)
    queue.set_metadata('plan', replace(plan, hours=5).to_json(tmp_path / 'a'))
    # A new selection cannot use the storage either.
    with pytest.raises(StorageError, match='contains another selection'):
        select_network(plan, tmp_path / 'b', storage=storage)
    assert not (tmp_path / 'b/search.json').exists()


def test_joining_runs_no_code_of_the_storage(plan, tmp_path):
    """Config, options and families are those of the joining command, compared before anything is
    built."""
    mark, storage = tmp_path / 'mark', str(tmp_path / 'trials.log')
    evil = {'train_dataloader.dataset': {'type': 'os.system', 'command': f'touch {mark}'}}
    (tmp_path / 'evil.py').write_text(f'import os\nos.system("touch {mark}")\n')
    queue = TrainingQueue(storage, {})
    evil_plan = replace(
        plan, options=evil, config=str(tmp_path / 'evil.py'), families=(str(tmp_path / 'evil.py'),)
    )
    queue.set_metadata('plan', evil_plan.to_json(tmp_path))
    queue.set_metadata('pace', {})
    shared = load_shared_plan(storage)
    assert (shared.options, shared.config, shared.families) == ({}, '', ())
    with pytest.raises(StorageError, match='options: '):
        select_network(plan, tmp_path / 'W', storage=storage, join=True)
    assert not mark.exists()


def test_passwords_are_hidden(candidates, pace, tmp_path):
    secret = 'postgresql+psycopg://me:s3cret@127.0.0.1:1/none?connect_timeout=1'
    assert public_name(secret).startswith('postgresql+psycopg://me:***@127.0.0.1:1/none')
    assert public_name('odd://me:s3cret@host') == 'odd://me:***@host'
    with pytest.raises(StorageError) as raised:
        TrainingQueue('nonesuch://me:s3cret@host/name', {})
    assert 's3cret' not in str(raised.value)
    save_results(Leaderboard(candidates, pace.lengths, {}), tmp_path, True, secret)
    page = (tmp_path / 'report.html').read_text()
    assert 's3cret' not in page
    assert 'me:***@127' in page


def test_error_for_a_limit_without_candidates(plan, pace, tmp_path):
    (tmp_path / 'pace.json').write_text(json.dumps(pace.to_document()))
    with pytest.raises(UserError, match='increase the limit'):
        select_network(replace(plan, limit=1.0), tmp_path / 'run', pace=tmp_path / 'pace.json')


@pytest.mark.long
def test_killed_resumed_and_joined_selections_are_bit_identical(
    options, tiny, plain_unet, tmp_path
):
    """A worker is killed, then the command; the next one is cancelled as by a batch system; the
    last one resumes, and another one joins. All use the pace of the uninterrupted selection."""
    more = ['--cfg-options', 'train_dataloader.num_workers=1']
    code, output = dnas(*options(tmp_path / 'one', *more))
    assert code == 0, output
    expected = leaderboard(tmp_path / 'one')

    work_dir, storage = tmp_path / 'many', tmp_path / 'shared/trials.log'
    pace = ['--pace', tmp_path / 'one/pace.json']
    command = options(work_dir, *more, '--workers', 2, '--storage', storage, *pace)

    def start(*arguments):
        return subprocess.Popen(
            [str(DNAS), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def wait_for(count, process):
        end = time.monotonic() + 180
        while len(results(work_dir)) < count:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.1)

    first = start(*command)
    wait_for(1, first)
    children = subprocess.run(
        ['pgrep', '-P', str(first.pid), '-f', 'spawn_main'], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    wait_for(3, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = results(work_dir)

    stopped = start(*command, '--resume')
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
    done = results(work_dir)

    again = start(*command, '--resume')
    wait_for(len(done) + 1, again)
    helper = start(
        'select', '--join', '--storage', storage, '--workers', 2, '--families', 'dnas', plain_unet,
        '--work-dir', tmp_path / 'helper', '--config', tiny, *more,
    )  # fmt: skip
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    helped, _ = helper.communicate(timeout=120)
    assert helper.returncode == 0, helped
    found = leaderboard(work_dir)
    assert found == expected
    assert {path: path.read_text() for path in done} == done  # no training was repeated
    one, many = (
        json.loads((folder / 'final/test/test_scores.json').read_text())
        for folder in (tmp_path / 'one', work_dir)
    )
    assert one == many


def test_work_dirs_that_configs_cannot_name(plan, tmp_path):
    with pytest.raises(UserError, match='apostrophe, a backslash or a line break'):
        select_network(plan, tmp_path / "it's", dry_run=True)
    assert not (tmp_path / "it's").exists()

"""Every command of README, quick start and manual, as it is typed: by the installed `dnas`.

The commands of a page run one after another, each in a fresh process, in a folder with small files
of the names that the pages use. What takes hours goes to its first results and is interrupted.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import DNAS, SHARED
from .sandbox import make_sandbox
from .test_docs import CARDS, PAGES, mentions, shell_lines

FIRST_RESULTS = {
    r'dnas train (?!.*--seeds)(?!.*--hours 0)': ('work_dirs/*/last_checkpoint',),
    r'dnas train .*--seeds \d': ('work_dirs/*/seed_*/last_checkpoint',),
    r'dnas select (?!.*--dry-run)': (
        'work_dirs/*/trainings/*/rung_*.json',
        'W*/trainings/*/rung_*.json',
    ),
    r'dnas search (?!.*--dry-run)(?!.*--resume)': ('work_dirs/*/*/last_checkpoint',),
}
"""What shows that a command of hours works, by what it looks like."""

NOT_RUN = {
    r'^(make|docker|pip|python -m|torchrun|\. )': 'not of the command dnas',
    r'postgresql\+psycopg://user@host': 'needs a PostgreSQL server of that name',
    r'--backend openvino|--int8': 'needs the extra openvino',
    r'efficientnet-lite0_naip': 'needs the weights of another package',
    r'_naip\.py|W/final': 'needs the NAIP tiles',
    r'SOURCE/dataset_split': 'needs the NAIP archive',
    r'work_dirs/trainings/|naip_small/weights\.pth': 'needs the results of benchmarks',
    r'work_dirs/(search|family)/(retrain|targets)|--architecture dnas_l14_gid5|W/retrain': (
        'needs the result of hours before it'
    ),
    r'work_dirs/search_0|here\.json|random_1\.json|plot-curves': 'needs the result of hours before',
    r'cityscapes': 'needs Cityscapes',
    r'label-suffix': 'needs maps of GID-5',
    r'example\.com': 'needs a server of that name',
}
"""What cannot be run here, and why; the number of commands is held by a test."""

BEGINNINGS = ('README.md', 'docs/quickstart.md', 'docs/polygons.md', 'docs/data.md')
"""Pages that begin with `dnas init --out mine`."""

WORDS = {'CONFIG': 'mine.py', 'CHECKPOINT': 'work_dirs/mine', 'SPACE': 'dnas'}
"""What stands for a file or name of the user's in sentences."""


def commands(page: str) -> list[str]:
    """The commands of a page; on the first two pages also those in sentences and tables."""
    lines = shell_lines(page)
    if page in ('README.md', 'docs/quickstart.md'):
        lines = list(dict.fromkeys([*lines, *mentions(page)]))
    return [re.sub(r'\b[A-Z]+\b', lambda m: WORDS.get(m[0], m[0]), line) for line in lines]


def reason_not_to_run(line: str) -> str:
    if 'openvino' in line and find_spec('openvino'):
        return ''
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, line)), '')


def run_line(line: str, folder: Path) -> None:
    """Run a command to its end, or to its first results; fail with its output if it does."""
    patterns = next((p for words, p in FIRST_RESULTS.items() if re.match(words, line)), ())
    before = {path for pattern in patterns for path in folder.glob(pattern)}
    environment = {**os.environ, 'PATH': f'{DNAS.parent}:{os.environ["PATH"]}'}
    log = folder / 'output.txt'
    with log.open('w') as output:
        process = subprocess.Popen(
            ['bash', '-c', f'exec {line}'], cwd=folder, env=environment, stdout=output,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    end = time.monotonic() + 300
    try:
        while process.poll() is None and time.monotonic() < end:
            found = {path for pattern in patterns for path in folder.glob(pattern)}
            if found - before:
                interrupt(process)
                # Loading processes that end with it may say so in their own way.
                assert 'interrupted' in log.read_text(), f'{line}\n{log.read_text()}'
                return
            time.sleep(0.1)
        assert process.poll() == 0, f'$ {line}\n{log.read_text()[-3000:]}'
        assert 'Traceback' not in log.read_text(), f'{line}\n{log.read_text()}'
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def interrupt(process: subprocess.Popen) -> None:
    """Press Ctrl-C, and again: Python loses one that comes while a loading process is forked."""
    for _ in range(6):
        os.kill(process.pid, signal.SIGINT)
        try:
            process.wait(10)
            return
        except subprocess.TimeoutExpired:
            pass


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sandbox')
    make_sandbox(folder)
    return folder


@pytest.fixture(scope='module')
def trained(sandbox) -> Path:
    """Another one with a training, for pages that begin with its result."""
    folder = copy_of(sandbox, sandbox.with_name('trained'))
    run_line('dnas train mine.py', folder)
    return folder


def copy_of(folder: Path, target: Path, page: str = '') -> Path:
    shutil.copytree(folder, target, symlinks=True)
    if page in BEGINNINGS:
        (target / 'mine.py').unlink()
    if (SHARED / 'data/naip_rgbn').is_dir() and not (target / 'data/naip_rgbn').exists():
        (target / 'data/naip_rgbn').symlink_to(SHARED / 'data/naip_rgbn')
    return target


def test_the_readme_in_short(sandbox, tmp_path):
    """The README's commands but for its selection of hours, which the next test has in small."""
    folder = copy_of(sandbox, tmp_path / 'empty', 'README.md')
    for line in commands('README.md'):
        if not reason_not_to_run(line) and not line.startswith('dnas select'):
            # A training run of an hour writes its first checkpoint after a minute; this one ends.
            run_line(re.sub(r'(dnas train .*--hours) 1\b', r'\1 0.01', line), folder)


def test_a_selection_to_its_end(sandbox, tmp_path):
    """The main command with seconds of training: candidates are trained in spawned processes."""
    folder = copy_of(sandbox, tmp_path / 'empty')
    with (folder / 'mine.py').open('a') as file:
        file.write('workers = dict(num_workers=0, persistent_workers=False)\n')
        file.write('train_dataloader.update(workers)\n')
        file.write('val_dataloader.update(workers)\ntest_dataloader.update(workers)\n')
    pace = {
        'spaces': {'dnas': {'fixed': 1.0, 'per_mac': 0.0}},
        'candidates': {'mine': 1.0},
        'validations': {},
        'schedule': 1.0,
        'lengths': {'seconds': [1.0, 3.0], 'budget': 3.0, 'total': 12.0, 'overhead': 0.1},
    }
    (folder / 'pace.json').write_text(json.dumps(pace))
    select = 'dnas select --config mine.py --hours 0.01 --families mine.py dnas --layers 4'
    run_line(f'{select} --work-dir S --pace pace.json --workers 2', folder)
    board = json.loads((folder / 'S/leaderboard.json').read_text())
    # Four trainings of a third of the last rung, and two promotions.
    assert (board['running'], round(board['spent'], 6)) == (False, 2.666667)
    assert len([c for c in board['candidates'] if len(c['scores']) == 2]) == 2
    run_line('dnas select --work-dir S --resume', folder)
    run_line('dnas predict S/retrain.py S/final scene.tif --out-dir maps', folder)


@pytest.mark.long
@pytest.mark.parametrize(
    'page', [page for page in [*PAGES, *CARDS] if page != 'CONTRIBUTING.md' and commands(page)]
)
def test_every_command_of_a_page_runs(page, request, tmp_path):
    state = 'sandbox' if page in BEGINNINGS else 'trained'
    folder = copy_of(request.getfixturevalue(state), tmp_path / 'empty', page)
    if page not in BEGINNINGS:  # elsewhere it has been converted
        run_line("dnas convert 'Large-scale Classification_5classes' --out data/gid5", folder)
    for line in commands(page):
        if not reason_not_to_run(line):
            run_line(line, folder)


def test_the_commands_that_are_not_run_are_counted():
    """A new one must be run, or be named here."""
    everything = [
        line for page in [*PAGES, *CARDS] if page != 'CONTRIBUTING.md' for line in commands(page)
    ]
    ours = [line for line in everything if line.startswith('dnas ')]
    skipped = [line for line in ours if reason_not_to_run(line)]
    assert (len(ours), len(skipped)) == (99, 23)

"""Interrupted and resumed searches."""

import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, Program, run
from .conftest import LEVELS

TOOL = ROOT / 'tools/search.py'


def final_state(work_dir):
    """Results, weights, optimizers and histories, which must not depend on interruptions."""
    state = {}
    for name in ('path', 'connection', 'architecture'):
        document = load_architecture(work_dir / f'{name}.json').to_document()
        state[name] = {key: document[key] for key in ('level', 'layers', 'path', 'nodes')}
    for path in sorted((work_dir / 'targets').glob('*/*.json')):
        found = load_architecture(path)
        state[path.relative_to(work_dir)] = (found.nodes, found.provenance['cost'])
    assert len(state) == 3 + 4
    for level in LEVELS:
        checkpoint = torch.load(work_dir / level / 'epoch_5.pth', weights_only=True)
        history = json.loads(checkpoint['architecture_search']['history'])
        for epoch in history['epochs']:
            del epoch['architecture']['name'], epoch['architecture']['provenance']
        state[level] = (
            checkpoint['state_dict'],
            checkpoint['optimizer'],
            checkpoint['architecture_search']['optimizer'],
            checkpoint['architecture_search']['cost'],
            checkpoint['param_schedulers'],
            history,
        )
    return state


def equal(a, b) -> bool:
    """Whether nested tensors are bitwise equal."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize('most', [1, pytest.param(4, marks=pytest.mark.long)])
def test_killed_at_random_and_resumed_it_ends_bit_identical(tiny, tmp_path, most):
    command = [
        TOOL, 'dnas', *tiny, '--epochs', '5',
        '--cost', 'params', '--targets', '3K', '4500', '--cost-size', '32',
    ]  # fmt: skip
    code, output = run(*command, '--work-dir', tmp_path / 'whole')
    assert code == 0, output
    seed = int(time.time())
    print('seed of the times of the kills:', seed)
    rng = np.random.default_rng(seed)
    kills = 0
    while not (tmp_path / 'cut/retrain.py').exists():
        program = Program(*command, '--work-dir', tmp_path / 'cut', '--resume')
        if kills < most:
            # At a random time after the second to fourth checkpoint of this attempt.
            saved = rng.integers(2, 5)
            while program.running() and program.output().count('Saving') < saved:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            program.kill()
        code = program.wait()
        assert code in (0, -signal.SIGKILL), program.output()
        kills += code != 0
    assert kills >= (most + 1) // 2  # a fast machine may finish before the last one
    assert equal(final_state(tmp_path / 'whole'), final_state(tmp_path / 'cut'))


def test_resuming_requires_the_same_options(plan, tmp_path):
    plan = replace(plan, levels=('path',))
    search(plan, tmp_path / 'run')
    assert SearchPlan.load(tmp_path / 'run') == plan
    code, output = run(TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume')
    assert code == 0, output
    assert 'no stage was left' in output
    code, output = run(
        TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume', '--layers', 5, '--seed', 3
    )
    assert code == 1
    assert 'layers: 4, now 5' in output
    assert 'seed: 0, now 3' in output
    with pytest.raises(UserError, match='already contains a search: resume it with --resume'):
        search(plan, tmp_path / 'run')
    # The work dir can be moved without the user's config.
    moved = (tmp_path / 'run').rename(tmp_path / 'moved')
    Path(plan.config).unlink()
    code, output = run(TOOL, 'dnas', '--work-dir', moved, '--resume')
    assert code == 0, output
    assert 'no stage was left' in output
    assert str(tmp_path) not in (moved / 'search.json').read_text()


def test_error_for_a_changed_config(plan, tiny, tmp_path):
    plan = replace(plan, levels=('path',))
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/path.json').unlink()
    text = tiny[1].read_text()
    tiny[1].write_text(text.replace('decode_head=dict(channels=8)', 'decode_head=dict(channels=9)'))
    with pytest.raises(
        UserError, match=r'network\.py differs from the config of this plan[^$]*channels=9'
    ):
        search(plan, tmp_path / 'run', resume=True)


def test_stages_can_be_run_one_after_another(plan, tmp_path):
    work_dir = tmp_path / 'run'
    first = SearchPlan(**{**plan.__dict__, 'levels': ('path',)})
    path = search(first, work_dir)
    rest = SearchPlan(**{**plan.__dict__, 'levels': ('connection', 'cell')})
    found = search(rest, work_dir, resume=True)
    assert (found.level, found.path) == ('cell', path.path)
    assert "fileDirname }}/path.json'" in (work_dir / 'connection.py').read_text()


def test_error_for_a_missing_earlier_stage(plan, tmp_path):
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/path.json').unlink()
    with pytest.raises(UserError, match='result of stage connection, but not of the earlier'):
        search(plan, tmp_path / 'run', resume=True)


def test_options_with_tuples_can_be_resumed(plan, tmp_path):
    options = {'model.decode_head.dropout_ratios': (0.1, 0.1)}
    plan = SearchPlan(**{**plan.__dict__, 'options': options, 'levels': ('path',)})
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/path.json').unlink()
    assert search(SearchPlan.load(tmp_path / 'run'), tmp_path / 'run', resume=True)

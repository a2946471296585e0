"""Usable cores and thread settings."""

import os
import subprocess
import sys

import pytest

from dnas_mmseg import cpus


@pytest.mark.parametrize(
    ('text', 'cores'), [('max 100000', 4), ('150000 100000', 2), ('20000 100000', 1), ('x', 4)]
)
def test_cgroup_2_quota_limits_the_cores(text, cores, tmp_path, monkeypatch):
    (tmp_path / 'cpu.max').write_text(text)
    monkeypatch.setattr(cpus, '_CGROUP_2', tmp_path / 'cpu.max')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2, 3})
    assert cpus.usable_cores() == cores
    environment = {}
    cpus.share_cores(environment)
    limited = text[0].isdigit()
    assert environment.get('OMP_NUM_THREADS') == (str(cores) if limited else None)


def test_cgroup_1_quota_limits_the_cores(tmp_path, monkeypatch):
    for name, text in (('quota', '300000'), ('period', '100000')):
        (tmp_path / name).write_text(text + '\n')
    monkeypatch.setattr(cpus, '_CGROUP_2', tmp_path / 'none')
    monkeypatch.setattr(cpus, '_CGROUP_1', (tmp_path / 'quota', tmp_path / 'period'))
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(64)))
    assert cpus.usable_cores() == 3
    (tmp_path / 'quota').write_text('-1\n')
    assert cpus.usable_cores() == 64


@pytest.mark.parametrize('own', [{'OMP_WAIT_POLICY': 'ACTIVE'}, {'GOMP_SPINCOUNT': '7'}])
def test_variables_of_the_user_take_precedence(own):
    environment = {**own, 'OMP_NUM_THREADS': '5'}
    cpus.share_cores(environment)
    assert environment == {**own, 'OMP_NUM_THREADS': '5'}


def test_settings_apply_before_torch_is_imported():
    code = (
        'import sys\n'
        'class Watch:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name == "torch":\n'
        '            import os; print("spins", os.environ.get("GOMP_SPINCOUNT"))\n'
        'sys.meta_path.insert(0, Watch())\n'
        'import dnas_mmseg\n'
    )
    environment = {k: v for k, v in os.environ.items() if k not in cpus._POLICIES}
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment, check=True
    )
    assert 'spins 30000' in done.stdout

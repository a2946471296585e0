"""What benchmarks need a GPU for runs on the CPU, so that it does not fail on its first line."""

import subprocess
import sys

import pytest

from .conftest import ROOT


@pytest.mark.long
def test_the_benchmark_of_gpus_runs_on_a_cpu():
    command = ['-m', 'benchmarks.devices', '--device', 'cpu', '--sizes', '64', '--repeat', '1']
    command += ['--batch', '1', '--models', 'DNAS L=12', 'HRNet-W18', '--no-compile']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'Predictions, one image of 4 x 64 x 64, cpu' in done.stdout
    for row in (
        '| DNAS L=12 | plain, float32 |',
        '| HRNet-W18 | deployed, bfloat16 |',
        '| DNAS L=12 | channels_last, bfloat16 |',
        '| search, cell stage, L=12 | contiguous, float32 |',
    ):
        assert row in done.stdout, done.stdout

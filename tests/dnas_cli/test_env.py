"""What is installed, as `dnas env` tells it, also where something is missing."""

import subprocess
import sys

from ..conftest import ROOT, run


def test_the_environment_check():
    code, output = run(ROOT / 'tools/env.py')
    assert code == 0, output
    assert 'with gdal_array' in output
    assert output.rstrip().endswith('ready')


def test_a_report_of_a_fault_has_what_mmengine_collects():
    code, output = run(ROOT / 'tools/env.py', '--all')
    assert code == 0, output
    assert '\nMMEngine: ' in output


def test_without_gdal_it_says_what_to_run(tmp_path):
    (tmp_path / 'osgeo').mkdir()
    (tmp_path / 'osgeo/__init__.py').write_text("raise ImportError('no libgdal here')")
    program = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ["dnas", "env"]\n'
    program += 'from dnas_cli import main; main()'
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program], capture_output=True, text=True, cwd=ROOT
    )
    assert finished.returncode == 1
    assert finished.stdout.splitlines()[-1].startswith('extras')
    assert finished.stderr.startswith('error: GDAL cannot be imported (no libgdal here).')
    assert 'gdal-wheel' in finished.stderr

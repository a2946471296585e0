"""Command `dnas env`, also in broken installations."""

import subprocess
import sys

from ..conftest import ROOT, run


def test_a_complete_installation():
    code, output = run(ROOT / 'tools/env.py')
    assert code == 0, output
    assert 'with gdal_array' in output
    assert output.rstrip().endswith('ready')


def test_all_prints_collect_env_of_mmengine():
    code, output = run(ROOT / 'tools/env.py', '--all')
    assert code == 0, output
    assert '\nMMEngine: ' in output


def test_a_missing_gdal_is_reported_with_the_remedy(tmp_path):
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

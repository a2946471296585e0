"""Command `dnas`: overview, lazy imports and consistency with the package."""

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from dnas_cli import COMMANDS
from dnas_cli.command_line import COSTS, Overrides
from dnas_mmseg.cost.table import METRICS
from dnas_mmseg.spaces.registry import SPACES

from ..conftest import DNAS, ROOT

NAMES = [name for group in COMMANDS.values() for name in group]
SHARED = {'scene_options.py', '__init__.py', 'command_line.py', 'engines.py', 'mosaic_options.py'}

SCRIPT = 'from dnas_cli import main; main()'


def dnas(*arguments: str) -> subprocess.CompletedProcess:
    """Run the installed command in a fresh process."""
    return subprocess.run([DNAS, *arguments], capture_output=True, text=True)


def test_help_lists_all_subcommands():
    finished = dnas('--help')
    assert finished.returncode == 0, finished.stderr
    for name in NAMES:
        assert f'\n  {name} ' in finished.stdout
    files = {path.name for path in (ROOT / 'dnas_cli').glob('*.py')} - SHARED
    assert files == {f'{name.replace("-", "_")}.py' for name in NAMES}


@pytest.mark.parametrize('name', NAMES)
def test_help_does_not_import_the_package(name):
    heavy = "print(sorted({'torch', 'numpy', 'mmengine', 'rich', 'osgeo'} & set(sys.modules)))"
    script = f'import atexit, sys; atexit.register(lambda: {heavy}); {SCRIPT}'
    finished = subprocess.run(
        [sys.executable, '-c', script, name, '--help'], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f'usage: dnas {name} ')
    assert f'    dnas {name}' in finished.stdout, 'an example is missing'
    assert finished.stdout.endswith('[]\n'), 'imported before the arguments were parsed'


def test_unknown_subcommands_are_refused():
    finished = dnas('trian')
    assert finished.returncode == 2
    assert "invalid choice: 'trian'" in finished.stderr
    assert "'train'" in finished.stderr


def test_subcommands_import_the_package():
    finished = dnas('train', 'none.py')
    assert finished.returncode == 1
    assert finished.stderr == 'error: none.py: no such config\n'
    finished = dnas('count', 'dnas_mmseg::dnas/dnas_l12_gid5.py', '--size', '64')
    assert finished.returncode == 0, finished.stderr
    assert 'dnas_l12_gid5' in finished.stdout


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_the_package_registers_its_classes_in_every_process(start, tmp_path):
    """Child processes inherit the arguments of the command, but do not run it."""
    (tmp_path / 'dnas').write_text(
        'import multiprocessing as mp\n'
        'def show():\n'
        '    import dnas_mmseg, mmseg.registry as r\n'
        '    print(r.MODELS.get("DNAS"))\n'
        'if __name__ == "__main__":\n'
        f'    child = mp.get_context({start!r}).Process(target=show)\n'
        '    child.start(); child.join()\n'
    )
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', tmp_path / 'dnas'], capture_output=True, text=True
    )
    assert "class 'dnas_mmseg.spaces.dnas.network.DNAS'" in finished.stdout, finished.stderr


def test_choices_match_the_package():
    assert {*COSTS} == {*METRICS}
    for name in ('search', 'measure_latency', 'random_architecture'):
        text = (ROOT / f'dnas_cli/{name}.py').read_text()
        spaces = text.split('the search space: ')[1].split("'")[0].replace(' or ', ', ')
        assert set(spaces.split(', ')) == set(SPACES)


def test_every_module_has_a_main_function():
    assert all(callable(import_module(f'dnas_cli.{n.replace("-", "_")}').main) for n in NAMES)


def test_overrides_are_parsed_as_by_mmengine():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Overrides)
    args = parser.parse_args(['--cfg-options', 'a.b=3', 'c=[x,2]', 'd=None'])
    assert args.cfg_options == {'a.b': 3, 'c': ['x', 2], 'd': None}

"""Installation of the wheel in a separate environment, without the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from mmengine.fileio import load

import dnas_mmseg
from dnas_mmseg.preparation.synthetic import write_scenes

from .conftest import ROOT

SOURCES = (
    'dnas_cli', 'dnas_mmseg', 'configs', 'tools', 'setup.py', 'pyproject.toml', 'MANIFEST.in',
    'README.md', 'LICENSE', 'model-index.yml', 'CHANGELOG.md', 'CITATION.cff',
)  # fmt: skip


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Build an sdist from a clean copy of the sources, and a wheel from it."""
    folder = tmp_path_factory.mktemp('build')
    clean = folder / 'clone'
    clean.mkdir()
    for name in SOURCES:
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, clean / name, **({'ignore': ignore} if copy is shutil.copytree else {}))
    build = f'from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})'
    call(sys.executable, '-W', 'ignore', '-c', build, folder=clean)
    (sdist,) = folder.glob('*.tar.gz')
    call(
        sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
        '--disable-pip-version-check', '-w', folder, sdist, folder=folder,
    )  # fmt: skip
    (wheel,) = folder.glob('*.whl')
    return wheel


def call(*command: object, folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    finished = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_metadata_agree(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
    metadata = message_from_string(archive.read(name).decode())
    citation = load(str(ROOT / 'CITATION.cff'), file_format='yml')
    assert metadata['Version'] == citation['version'] == dnas_mmseg.__version__
    assert metadata['Name'].replace('-', '_') == citation['title']
    assert [metadata['Author']] == [author['name'] for author in citation['authors']]
    assert metadata['License'] == citation['license']
    (paper,) = citation['references']
    assert metadata['Project-URL'] == f'Paper, https://doi.org/{paper["doi"]}'
    assert metadata.get_payload().startswith('# dnas_mmseg')
    assert f'## {dnas_mmseg.__version__}' in (ROOT / 'CHANGELOG.md').read_text()


def test_the_wheel_contains_data_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f'dnas_mmseg/.mim/{p.relative_to(ROOT)}' for p in (ROOT / 'configs').rglob('*.py')}
    assert configs <= names
    assert {
        'dnas_mmseg/.mim/model-index.yml',
        'dnas_mmseg/.mim/tools/train.py',
        'dnas_mmseg/py.typed',
        'dnas_mmseg/visualization/page/style.css',
        'dnas_mmseg/visualization/page/script.js',
        'dnas_mmseg/spaces/dnas/published/dnas_l14_gid5.json',
    } <= names
    assert not [name for name in names if name.startswith(('tests', 'benchmarks', 'configs'))]


def test_the_installed_command_runs_the_workflow(wheel, tmp_path):
    """Tiles, a short training run, the plan of a search, and maps."""
    home, work = tmp_path / 'venv', tmp_path / 'work'
    work.mkdir()
    venv.create(home, symlinks=True)
    site = Path(sysconfig.get_path('purelib', vars={'base': str(home)}))
    # addsitedir runs .pth files; that of setuptools provides distutils, which mmengine imports.
    borrowed = sysconfig.get_path('purelib')
    (site / 'borrowed.pth').write_text(f'import site; site.addsitedir({borrowed!r})\n')
    call(
        sys.executable, '-m', 'pip', '--python', home / 'bin/python', 'install', '-q', '--no-deps',
        '--disable-pip-version-check', wheel, folder=work,
    )  # fmt: skip

    def dnas(*arguments: object) -> str:
        return call(home / 'bin/dnas', *arguments, folder=work)

    assert f'configs    {site}' in dnas('env')
    write_scenes(work / 'scenes', count=3, size=128)
    dnas('convert', 'scenes', '--out', 'data', '--tile-size', 64, '--workers', 1)
    (work / 'mine.py').write_text(
        "_base_ = 'dnas_mmseg::dnas/dnas_l12_gid5.py'\n"
        'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'
        'train_dataloader = dict(num_workers=0, persistent_workers=False)\n'
        'val_dataloader = train_dataloader\n'
        'test_dataloader = train_dataloader\n'
        'train_cfg = dict(max_epochs=1)\n'
    )
    dnas('train', 'mine.py', '--data-root', 'data', '--work-dir', 'trained')
    plan = dnas(
        'search', 'dnas', '--layers', 4, '--config', 'mine.py', '--data-root', 'data', '--dry-run',
        '--work-dir', 'search', '--crop', 32,
    )  # fmt: skip
    assert 'path' in plan
    assert 'connection' in plan
    scenes = list((work / 'scenes/image_NirRGB').glob('*.tif'))
    dnas('predict', 'naip_small', scenes[0], '--out-dir', 'pretrained')
    assert len(list((work / 'pretrained').glob('*.tif'))) == 1
    dnas('predict', 'mine.py', 'trained', *scenes, '--out-dir', 'maps')
    assert len(list((work / 'maps').glob('*.tif'))) == 3

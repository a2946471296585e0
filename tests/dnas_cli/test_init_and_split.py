"""Commands `dnas init` and `dnas split`."""

import sys

import numpy as np
import pytest

from dnas_cli import init, split
from dnas_mmseg.raster import read_raster, write_raster


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in 'abcdefgh':
        for row in (0, 64):
            tile = f'{name}_{row}_0'
            samples = rng.integers(0, 255, (3, 64, 64)).astype(np.uint8)
            write_raster(f'mine/images/{tile}.tif', samples, names=('red', 'green', 'blue'))
            write_raster(f'mine/labels/{tile}.png', rng.integers(1, 4, (64, 64)).astype(np.uint8))
    return tmp_path


def call(monkeypatch, command, *arguments):
    monkeypatch.setattr(sys, 'argv', ['dnas', *map(str, arguments)])
    command.main()


def test_init(folder, monkeypatch, capsys):
    call(
        monkeypatch, init, 'mine/images', 'mine/labels', '--out', 'data', '--classes', 'a,b,c',
        '--workers', 1,
    )  # fmt: skip
    output = capsys.readouterr().out
    assert 'by scene (8)' in output
    assert 'classes a, b, c (edit them in data.py)' in output
    assert 'next: dnas check data.py' in output
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, init, 'mine/images', 'mine/labels', '--out', 'data', '--workers', 1)
    assert stopped.value.code == 'error: data.py exists: add --overwrite to replace it'


def test_split(folder, monkeypatch, capsys):
    call(monkeypatch, split, 'mine', '--fractions', 50, 25, 25)
    assert 'tiles' in capsys.readouterr().out
    counts = [len((folder / f'mine/{n}.txt').read_text().splitlines()) for n in ('train', 'val')]
    assert counts == [8, 4]
    call(monkeypatch, split, 'mine', '--folds', 4)
    tested = [(folder / f'mine/fold{i}/test.txt').read_text() for i in (1, 2, 3, 4)]
    assert len({line for text in tested for line in text.splitlines()}) == 16
    with pytest.raises(SystemExit, match='--fractions does not apply: --folds sets the shares'):
        call(monkeypatch, split, 'mine', '--folds', 4, '--fractions', 60, 20, 20, '--overwrite')


def test_a_refused_split_keeps_the_folds(folder, monkeypatch):
    call(monkeypatch, split, 'mine', '--folds', 4)
    with pytest.raises(SystemExit, match=r'absent\.csv'):
        call(
            monkeypatch, split, 'mine', '--folds', 3, '--overwrite', '--by', 'csv:absent.csv:region'
        )
    lists = sorted(path.parent.name for path in (folder / 'mine').glob('fold*/train.txt'))
    assert lists == ['fold1', 'fold2', 'fold3', 'fold4']
    call(monkeypatch, split, 'mine', '--folds', 3, '--overwrite')
    assert not (folder / 'mine/fold4/train.txt').exists()


@pytest.mark.parametrize(
    ('command', 'arguments'),
    [(split, ('mine',)), (init, ('mine/images', 'mine/labels', '--out', 'data'))],
)
def test_no_workers_are_refused(folder, monkeypatch, command, arguments):
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, command, *arguments, '--workers', 0)
    assert stopped.value.code == 'error: workers = 0: expected at least 1'


def test_negative_label_values(folder, monkeypatch, capsys):
    for path in sorted((folder / 'mine/labels').iterdir()):
        label = read_raster(path)[0].astype(np.int16)
        write_raster(path.with_suffix('.tif'), np.where(label == 3, np.int16(-9999), label))
        path.unlink()
    call(
        monkeypatch, init, 'mine/images', 'mine/labels', '--out', 'data', '--workers', 1,
        '--label-values', '-9999=', '1=a', '2=b',
    )  # fmt: skip
    assert 'classes a, b (edit them in data.py)' in capsys.readouterr().out
    assert "-9999: None,\n    1: 'a'" in (folder / 'data.py').read_text()

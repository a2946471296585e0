"""Common parts of the subcommands."""

import importlib
import runpy
import sys

import pytest
from mmengine.config import Config

from dnas_cli.command_line import ArgumentParser, split_name, user_errors
from dnas_mmseg.engine.configs import load_config

from ..conftest import ROOT


def test_user_errors_exit_with_the_message(tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*none\.py: no such config$'), user_errors():
        load_config(tmp_path / 'none.py')


def test_an_interrupt_while_a_config_is_formatted(monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    config = Config({'a': 1})
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', interrupt)
    monkeypatch.setattr('mmengine.config.config.FormatCode', interrupt, raising=False)
    with pytest.raises(SystemExit, match=r'^interrupted$'), user_errors():
        _ = config.pretty_text
    with pytest.raises(SyntaxError), user_errors():
        raise SyntaxError('of a config')


def test_errors_of_the_parser_are_one_line(capsys):
    parser = ArgumentParser(description='A tool.')
    parser.add_argument('--number', type=int, required=True)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(['--number', 'x'])
    assert end.value.code == 2
    expected = "error: argument --number: invalid int value: 'x' (see --help)\n"
    assert capsys.readouterr().err == expected


def test_all_tools_use_the_parser():
    for path in (ROOT / 'tools').rglob('*.py'):
        assert 'argparse.ArgumentParser(' not in path.read_text(), path


TOOLS = sorted(path.relative_to(ROOT / 'tools') for path in (ROOT / 'tools').rglob('*.py'))


@pytest.mark.parametrize('tool', [t for t in TOOLS if t.name != 'env.py'], ids=str)
def test_help_contains_examples(tool, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool.name, '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert end.value.code == 0
    assert '    dnas ' in capsys.readouterr().out, 'an example is missing'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('train', 'x.py', '--cfg-options', 'foo'), 'foo: KEY=VALUE expected'),
        (('select', '--work-dir', 'w', '--hours', 'x'), "invalid float value: 'x'"),
        (('split', 'data', '--seed', '-1'), '-1: expected an integer from 0 to 4294967295'),
        (('random_architecture', 'dnas', 'a.json', '--seed', '4294967296'), '4294967296: expected'),
        (('compare', 'x.py', '--out', 'c', '--repeat', '0'), '--repeat: 0: must be at least 1'),
        (('measure_latency', 'dnas', 'x.py', 't.json', '--size', '-4'), '-4: must be at least 1'),
    ],
)
def test_invalid_values_are_refused(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', list(words))
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f'dnas_cli.{words[0]}').main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('argument', 'parts'),
    [
        ('mine.py', ('', 'mine.py')),
        ('HRNet=mine.py:w/lr=0.1/epoch_2.pth', ('HRNet', 'mine.py:w/lr=0.1/epoch_2.pth')),
        ('configs/a=b.py', ('', 'configs/a=b.py')),
        (
            'DNAS L=14=dnas_mmseg::dnas/dnas_l14_gid5.py',
            ('DNAS L=14', 'dnas_mmseg::dnas/dnas_l14_gid5.py'),
        ),
        ('A=C:\\work\\a=b.py', ('A', 'C:\\work\\a=b.py')),
    ],
)
def test_names_before_paths(argument, parts):
    assert split_name(argument) == parts


def test_negative_values_are_arguments():
    parser = ArgumentParser()
    parser.add_argument('--label-values', nargs='+')
    parser.add_argument('--nodata', type=float)
    words = ['--label-values', '-9999=', '1=a', '-1=b', '--nodata', '-1e10']
    args = parser.parse_args(words)
    assert args.label_values == ['-9999=', '1=a', '-1=b']
    assert args.nodata == -1e10

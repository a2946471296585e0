"""Searching, as a user starts it."""

import pytest

from dnas_cli.search import share

from ..conftest import ROOT, run


def test_a_time_needs_a_table_as_before(tmp_path):
    code, output = run(
        ROOT / 'tools/search.py', 'dnas', '--layers', 4, '--work-dir', tmp_path / 'run',
        '--targets', '40ms', '--dry-run',
    )  # fmt: skip
    assert code == 1
    assert 'dnas measure-latency' in output
    assert 'Traceback' not in output


def test_a_mistake_on_the_command_line_is_one_line(tmp_path):
    code, output = run(ROOT / 'tools/search.py', 'dnas')
    assert code == 2
    assert output == 'error: the following arguments are required: --work-dir (see --help)\n'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--workers', 0, '--threads', 1), '--workers, --threads: not of --strategy gradient'),
        (
            ('--strategy', 'halving', '--launcher', 'pytorch'),
            '--launcher is of --strategy gradient',
        ),
        (('--strategy', 'halving', '--retrain'), '--retrain and --tensorboard are of'),
    ],
)
def test_options_of_the_other_strategy_are_refused(tmp_path, options, message):
    code, output = run(ROOT / 'tools/search.py', 'dnas', '--work-dir', tmp_path / 'run', *options)
    assert code == 1
    assert message in output
    assert not (tmp_path / 'run').exists()


def test_rungs_are_written_as_fractions():
    assert share('1/9') == 1 / 9
    assert share('0.25') == 0.25
    with pytest.raises(ValueError, match='Invalid literal'):
        share('a third')

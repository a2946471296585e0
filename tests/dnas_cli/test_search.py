"""Command `dnas search`."""

import pytest

from dnas_cli.search import share

from ..conftest import ROOT, run


def test_a_latency_target_requires_a_table(tmp_path):
    code, output = run(
        ROOT / 'tools/search.py', 'dnas', '--layers', 4, '--work-dir', tmp_path / 'run',
        '--targets', '40ms', '--dry-run',
    )  # fmt: skip
    assert code == 1
    assert 'dnas measure-latency' in output
    assert 'Traceback' not in output


def test_errors_of_the_parser_are_one_line(tmp_path):
    code, output = run(ROOT / 'tools/search.py', 'dnas')
    assert code == 2
    assert output == 'error: the following arguments are required: --work-dir (see --help)\n'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ('--workers', 0, '--threads', 1),
            '--workers, --threads: not supported by --strategy gradient',
        ),
        (
            ('--strategy', 'halving', '--launcher', 'pytorch'),
            '--launcher requires --strategy gradient',
        ),
        (('--strategy', 'halving', '--retrain'), '--retrain and --tensorboard require'),
    ],
)
def test_options_of_other_strategies_are_refused(tmp_path, options, message):
    code, output = run(ROOT / 'tools/search.py', 'dnas', '--work-dir', tmp_path / 'run', *options)
    assert code == 1
    assert message in output
    assert not (tmp_path / 'run').exists()


def test_rungs_are_parsed_as_fractions():
    assert share('1/9') == 1 / 9
    assert share('0.25') == 0.25
    with pytest.raises(ValueError, match='Invalid literal'):
        share('a third')

"""Command `dnas search`."""

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

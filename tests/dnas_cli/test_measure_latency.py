"""Command `dnas measure-latency`."""

import json

from ..conftest import ROOT, run


def test_the_table_has_all_parts_and_conditions(configs, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/measure_latency.py', 'dnas', configs['ours'],
        tmp_path / 'latency.json', '--size', 32, '--threads', 1, '--repeat', 1, '--layers', 4,
    )  # fmt: skip
    assert code == 0, output
    assert '188 parts' in output
    facts = json.loads((tmp_path / 'latency.json').read_text())['facts']
    assert 0 < facts['calibration'] < 100
    assert (facts['base_channels'], facts['size'], facts['threads']) == (2, [32, 32], 1)


def test_a_number_of_threads_is_positive(configs, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/measure_latency.py', 'dnas', configs['ours'],
        tmp_path / 'latency.json', '--threads', 0,
    )  # fmt: skip
    assert code == 1
    assert 'error: --threads 0: must be at least 1' in output
    assert not (tmp_path / 'latency.json').exists()

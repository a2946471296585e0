"""Reports of comparisons."""

import csv
import json
import math
import re

import pytest

from dnas_mmseg.comparison.report import save_cost_report

ROWS = [
    dict(
        name='a<b', parameters=2_500_000, macs=16e9, latency=[0.1, 0.5, 0.2], memory=None,
        scores={'mIoU': 71.234, 'IoU.x': math.nan}, notes=['a & note'],
    ),
    dict(name='b', parameters=10_000_000, macs=2e9, latency=[], memory=None, scores={}),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    page = save_cost_report(ROWS, {'size': '64 x 64', 'threads': 1}, tmp_path / 'out')
    assert page == tmp_path / 'out/index.html'
    return page.parent


def test_units_medians_and_missing_values(folder):
    with (folder / 'comparison.csv').open() as file:
        headings, first, second = csv.reader(file)
    assert headings == [
        'model', 'parameters, M', 'multiply-adds, G', 'latency, ms', 'mIoU', 'IoU.x',
    ]  # fmt: skip
    assert first == ['a<b', '2.50', '16.00', '200.0', '71.23', '–']
    assert second == ['b', '10.00', '2.00', '–', '–', '–']


def test_all_formats_contain_the_same_values(folder):
    lines = (folder / 'comparison.md').read_text().splitlines()
    assert '| a<b | 2.50 | 16.00 | 200.0 | 71.23 | – |' in lines
    assert '- a<b: a & note' in lines
    assert lines[-1] == 'size 64 x 64, threads 1'
    document = json.loads((folder / 'comparison.json').read_text())
    assert document['facts'] == {'size': '64 x 64', 'threads': 1}
    assert document['models'][0]['scores'] == {'mIoU': 71.234, 'IoU.x': None}
    page = (folder / 'index.html').read_text()
    page = re.sub(r' data-label="[^"]*"', '', page)
    cells = ''.join(f'<td class=number>{n}</td>' for n in ('71.23', '2.50', '16.00', '200.0'))
    assert f'<td>a&lt;b</td>{cells}</tr>' in page
    assert '<h2>IoU by class, %</h2>' in page
    assert 'a&lt;b reaches 71.2 % mIoU.' in page
    assert 'a &amp; note' in page
    assert page.count('<svg') == 1
    assert (folder / 'pareto.png').stat().st_size > 1000
    assert (folder / 'pareto.svg').read_text().startswith('<svg')


def test_vertical_bars_in_names_do_not_divide_cells(tmp_path):
    save_cost_report([{**ROWS[1], 'name': 'a|b'}], {}, tmp_path)
    lines = (tmp_path / 'comparison.md').read_text().splitlines()
    assert r'| a\|b | 10.00 | 2.00 |' in lines


def test_latency_is_plotted_over_cost_without_scores(tmp_path):
    rows = [{**row, 'scores': {}} for row in ROWS]
    text = save_cost_report(rows, {}, tmp_path).read_text()
    assert 'mIoU, %' not in text
    assert 'latency, ms' in text


def test_scores_of_different_classes_are_not_ranked(tmp_path):
    rows = [
        {**ROWS[0], 'name': name, 'scores': {'mIoU': score, f'IoU.{label}': score}}
        for name, score, label in (('a', 75.0, 'x'), ('b', 72.5, 'y'))
    ]
    text = save_cost_report(rows, {}, tmp_path).read_text()
    assert 'The scores are not comparable: the models are scored on different classes.' in text
    assert 'has the highest score' not in text


def test_summary_reports_the_best_and_the_fastest_model(tmp_path):
    rows = [
        {**ROWS[0], 'name': 'slow', 'latency': [0.4], 'scores': {'mIoU': 75.0}},
        {**ROWS[0], 'name': 'fast', 'latency': [0.1], 'scores': {'mIoU': 72.5}},
        {**ROWS[0], 'name': 'none', 'latency': [0.2], 'scores': {}},
    ]
    text = save_cost_report(rows, {}, tmp_path).read_text()
    assert 'slow has the highest score: 75.0 % mIoU, 2.5 above fast.' in text
    assert 'not comparable' not in text
    assert 'fast is the fastest: 100 ms, 4.00 times as fast as slow.' in text
    text = re.sub(r' data-label="[^"]*"', '', text)
    order = [text.index(f'<td>{name}</td>') for name in ('slow', 'fast', 'none')]
    assert order == sorted(order)
    assert 'fast: 72.5 % at 100 ms' in text  # its tooltip


def test_a_single_score_is_not_plotted(folder):
    assert 'Latency over multiply-adds' in (folder / 'index.html').read_text()

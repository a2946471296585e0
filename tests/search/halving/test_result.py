import csv
import html
import json
import re
import shlex

import pytest

from dnas_mmseg.search.halving.networks import Baseline
from dnas_mmseg.search.halving.plan import SelectionPlan
from dnas_mmseg.search.halving.result import Leaderboard, save_results
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.selection import Request, Selection
from dnas_mmseg.search.selection.study import Outcome


class Named:
    def __init__(self, name):
        self.name = name


class Costs:
    fidelities = 0.25, 1.0

    def cost_by(self, candidate, metric):
        return {'macs': 2e9, 'params': 3e5}[metric] + len(candidate.name)


A, B, C, INITIAL = (Named(name) for name in ('net_a', 'net_b', 'net_c', 'mine'))
HRNET = Baseline('hrnet', 'hrnet.py')


@pytest.fixture
def board():
    plan = SelectionPlan(network=SearchPlan(), budget=8, rungs=(0.25, 1.0))
    board = Leaderboard(plan, Costs(), [INITIAL])
    seconds = {'seconds': 10.0}
    board.add(
        [
            (Request(INITIAL, 0, 0), Outcome(50.0, metadata=seconds)),
            (Request(A, 0, 0), Outcome(60.0, metadata=seconds)),
            (Request(B, 0, 0), Outcome(None, 'ValueError: mIoU is nan')),
        ]
    )
    board.add([(Request(HRNET, 1, 0), Outcome(70.0)), (Request(C, 1, 0), Outcome(72.0))])
    board.add([(Request(A, 1, 0), Outcome(73.0)), (Request(A, 1, 1), Outcome(75.0))])
    return board


def result(best, undecided=(), noise=1.4142):
    return Selection(best, 74.0, undecided, noise, 4.75, (), {A: 60.0}, {B: 'nan'})


def test_rows(board):
    assert board.spent == 4.75
    rows = {row.name: row for row in board.rows.values()}
    assert {name: row.kind for name, row in rows.items()} == {
        'mine': 'given', 'net_a': 'random', 'net_b': 'random', 'hrnet': 'baseline',
        'net_c': 'proposed',
    }  # fmt: skip
    assert (rows['net_a'].mean(1), rows['net_a'].mean(0), rows['net_c'].mean(0)) == (74, 60, None)
    assert [row.name for row in board.ranked] == ['net_a', 'net_c', 'hrnet', 'mine', 'net_b']


def test_winner_is_the_first_row(board):
    board.decide(result(C, undecided=(A,)))
    assert [row.name for row in board.ranked][:2] == ['net_c', 'net_a']


def test_verdict(board):
    assert board.verdict()[0].startswith('The selection is running: 4.8 of 8 full trainings')
    board.decide(result(A))
    verdict = ' '.join(board.verdict())
    for text in (
        'net_a wins with 74.00 % mIoU, at 2 G multiply-adds.',
        'Standard deviation of a score over seeds: 1.41 (from 1 repeat).',
        'At 25 % of the schedule: 1 random network with 60.00 on average and 60.00 at best.',
        'hrnet: 70.00 at 2 G multiply-adds.',
        '1 candidate failed in training',
        'Budget used: 4.8 of 8',
    ):
        assert text in verdict
    assert 'undecided' not in verdict
    board.decide(result(A, undecided=(C,), noise=None))
    assert 'undecided: the best is less than one standard error ahead of net_c; ' in ' '.join(
        board.verdict()
    )
    assert 'No training was repeated' in ' '.join(board.verdict())
    board.decide(result(HRNET))
    assert 'It is a baseline' in ' '.join(board.verdict())


def test_save_results(board, tmp_path):
    save_results(board, tmp_path, running=True)
    assert '<body data-reload=30>' in (tmp_path / 'report.html').read_text()
    board.decide(result(A))
    save_results(board, tmp_path, running=True)
    page = (tmp_path / 'report.html').read_text()
    assert 'Its training on the whole training list is running.' in page
    assert '--resume' in page
    board.finish(71.234)
    save_results(board, tmp_path, running=False)
    page = (tmp_path / 'report.html').read_text()
    assert '<body>' in page
    assert 'it reaches 71.23 % on the test tiles' in page
    assert 'dnas predict' in page
    assert '<title>net_a: 74 % at 2 G</title>' in page
    assert page.count('<svg') == 2
    assert 'net_a wins' in page
    rows = list(csv.reader((tmp_path / 'leaderboard.csv').open()))
    assert rows[0] == [
        'candidate', 'origin', 'multiply-adds, G', 'parameters, K', 'mIoU at 1', 'mIoU at 0.25',
        'seeds', 'seconds', 'note',
    ]  # fmt: skip
    assert rows[1] == ['net_a', 'random', '2', '300', '74.00', '60.00', '2', '10', '']
    assert rows[-1][-1] == 'ValueError: mIoU is nan'
    document = json.loads((tmp_path / 'leaderboard.json').read_text())
    assert document['test_mIoU'] == 71.234
    assert document['candidates'][0]['scores'] == [
        {'rung': 0.25, 'seed': 0, 'mIoU': 60.0},
        {'rung': 1.0, 'seed': 0, 'mIoU': 73.0},
        {'rung': 1.0, 'seed': 1, 'mIoU': 75.0},
    ]


def test_page_of_a_joined_selection_has_no_trained_network(board, tmp_path):
    board.decide(result(A))
    save_results(board, tmp_path, running=False)
    page = (tmp_path / 'report.html').read_text()
    assert 'net_a wins' in page
    assert 'dnas predict' not in page


def test_commands_and_tooltips_escape_names(board, tmp_path):
    folder = tmp_path / 'my run'
    folder.mkdir()
    A.name = 'a & "b" <c>'
    try:
        save_results(board, folder, running=True, storage='postgresql+psycopg://u@h/n')
        page = (folder / 'report.html').read_text()
    finally:
        A.name = 'net_a'
    command = html.unescape(re.search(r'<pre>(.*?)</pre>', page)[1])
    words = shlex.split(command, comments=True)
    assert words == [
        'dnas', 'search', 'dnas', '--work-dir', str(folder), '--resume', '--storage',
        'postgresql+psycopg://u@h/n',
    ]  # fmt: skip
    assert page.count('class="tip"') == 3 + 4


def test_per_pixel_baselines_are_in_the_leaderboard(board, tmp_path):
    board.pixels = {'per-pixel trees': 81.4, 'majority class': 12.0}
    board.decide(result(A))
    assert 'No network beats the per-pixel trees, 81.40 %' in ' '.join(board.verdict())
    save_results(board, tmp_path, running=False)
    *_, trees, majority = csv.reader((tmp_path / 'leaderboard.csv').open())
    assert trees == ['per-pixel trees', 'per-pixel', '', '', '81.40', '', '', '', 'no network']
    assert majority[4] == '12.00'
    assert json.loads((tmp_path / 'leaderboard.json').read_text())['pixels'] == board.pixels
    board.pixels = {'per-pixel trees': 60.0}
    assert 'No network beats' not in ' '.join(board.verdict())

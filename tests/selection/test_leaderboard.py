import csv
import html
import json
import math
import re
import shlex
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from dnas_mmseg.selection.algorithm import Request, Selection, Trial
from dnas_mmseg.selection.families import Candidate
from dnas_mmseg.selection.leaderboard import Leaderboard
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.plan import SelectionPlan
from dnas_mmseg.selection.queue import Outcome
from dnas_mmseg.selection.report import save_results

from .conftest import stand_in

A, B, C, MINE = (Candidate('dnas', (), name) for name in ('net_a', 'net_b', 'net_c', 'mine'))
HRNET = Candidate('hrnet', (), 'hrnet')


def outcome(score, epochs, curve=(), seconds=10.0):
    metadata = dict(epochs=epochs, steps=40 * epochs, seconds=seconds, curve=list(curve))
    return Outcome(score, metadata=metadata)


@pytest.fixture
def board():
    plan = SelectionPlan('mine.py', hours=1)
    board = Leaderboard(
        stand_in(plan, (MINE, HRNET), {MINE}), Lengths((25.0, 100.0), 8.0, 3600.0, 5.0), {}
    )
    board.add(
        [
            (Request(MINE, 0, 0), outcome(50.0, 3)),
            (Request(HRNET, 0, 0), outcome(61.0, 2)),
            (Request(A, 0, 0), outcome(60.0, 3, [(3, 60.0)])),
            (Request(B, 0, 0), Outcome(None, 'ValueError: mIoU is nan')),
        ]
    )
    board.add([(Request(HRNET, 1, 0), outcome(70.0, 8)), (Request(C, 0, 0), outcome(55.0, 3))])
    board.add(
        [
            (Request(A, 1, 0), outcome(73.0, 12, [(3, 60.0), (8, 70.0), (12, 73.0)])),
            (Request(A, 1, 1), outcome(75.0, 12)),
        ]
    )
    return board


def result(best, cheapest=None, undecided=(), noise=1.4142):
    return Selection(
        best, cheapest or best, 73.0, 1, undecided, noise, 4.75, (), {A: 60.0}, {B: 'nan'}
    )


def test_rows(board):
    # Five first rungs, two promotions that continue, and a repeat from the start.
    assert board.spent == pytest.approx(5 * 0.25 + 2 * 0.75 + 1)
    rows = {row.name: row for row in board.rows.values()}
    assert {name: row.origin for name, row in rows.items()} == {
        'mine': 'given', 'net_a': 'random', 'net_b': 'random', 'hrnet': 'portfolio',
        'net_c': 'proposed',
    }  # fmt: skip
    assert (rows['net_a'].mean(1), rows['net_a'].mean(0), rows['net_c'].mean(1)) == (73, 60, None)
    assert [row.name for row in board.ranked] == ['net_a', 'hrnet', 'net_c', 'mine', 'net_b']
    assert (rows['net_a'].epochs, rows['net_a'].steps, rows['net_a'].seconds) == (12, 480, 30)
    assert rows['net_a'].curve == {3: 60.0, 8: 70.0, 12: 73.0}
    assert [row.name for row in board.front] == ['net_a']


def test_short_trainings_of_stock_networks_are_marked(board):
    rows = {row.name: row for row in board.rows.values()}
    assert rows['hrnet'].note == '8 of 28 epochs'
    assert rows['net_a'].note == ''  # an architecture has no schedule of its own
    assert rows['net_b'].note == 'ValueError: mIoU is nan'
    rows['hrnet'].epochs = 14
    assert rows['hrnet'].note == ''


def test_winner_is_the_first_row(board):
    board.decide(result(A, cheapest=HRNET))
    assert (board.winner, board.ranked[0].name) == (A, 'net_a')
    board.plan = replace(board.plan, prefer='cost')
    board.decide(result(A, cheapest=HRNET))
    assert (board.winner, board.ranked[0].name) == (HRNET, 'hrnet')


def test_an_early_end(board):
    """The scores of the rung at which the comparison ended decide."""
    board.lengths = Lengths((25.0, 100.0, 400.0), 8.0, 3600.0, 5.0)
    assert (board.last, [row.name for row in board.front]) == (2, [])
    board.decide(result(A))
    assert (board.last, [row.name for row in board.front]) == (1, ['net_a'])
    assert 'The comparison ended after rung 2: no other network was left' in ' '.join(
        board.verdict()
    )


def test_all_finalists_failed(board):
    board.lengths = Lengths((25.0, 100.0, 400.0), 8.0, 3600.0, 5.0)
    board.decide(replace(result(A), trials=(Trial(HRNET, 2, 0, math.nan),)))
    verdict = ' '.join(board.verdict())
    assert 'All finalists failed: the result is the best network of rung 2.' in verdict
    assert 'no other network was left' not in verdict


def test_verdict(board):
    assert board.verdict()[0].startswith('The selection is running: 3.8 of 8.0 full trainings')
    board.decide(result(A, cheapest=HRNET, undecided=(HRNET,)))
    board.candidates.excluded['unet'] = 'no weights'
    verdict = ' '.join(board.verdict())
    for text in (
        'net_a has the highest score, 73.00 % mIoU, at 2 G multiply-adds.',
        'hrnet is the cheapest that is not clearly worse: 70.00 % at 2 G multiply-adds.',
        'undecided: the best is less than one standard error ahead of hrnet.',
        'Standard deviation of a score over repeats: 1.41 (from 1 repeat).',
        'At rung 1: 1 random network with 60.00 on average and 60.00 at best, '
        '1 proposed network with 55.00',
        '1 candidate failed in training',
        'Excluded: unet (no weights).',
        'Used: 3.8 of 8.0 full trainings.',
    ):
        assert text in verdict
    board.decide(result(A, noise=None))
    verdict = ' '.join(board.verdict())
    assert 'undecided' not in verdict
    assert 'cheapest' not in verdict
    assert 'No two networks were repeated together: a standard deviation of 1' in verdict
    board.stopped, board.selection = 'the disk is full', None
    verdict = ' '.join(board.verdict())
    assert 'The selection has stopped: the disk is full.' in verdict
    assert '--retry-failed' in verdict


def test_save_results(board, tmp_path):
    board.left = 3700.0
    save_results(board, tmp_path, running=True)
    page = (tmp_path / 'report.html').read_text()
    assert '<body data-reload=30>' in page
    assert 'About 1:01:40 left, until ' in page
    board.decide(result(A))
    save_results(board, tmp_path, running=True)
    page = (tmp_path / 'report.html').read_text()
    assert 'The training of the winner on the whole training list is running.' in page
    assert 'dnas select --work-dir' in page
    figure = Figure(figsize=(5.2, 1.7))
    board.finish(
        {'mIoU': 71.234, 'OA': 80.0, 'IoU.water': 88.8, 'IoU.forest': 55.5, 'IoU.x': None}, figure
    )
    save_results(board, tmp_path, running=False)
    page = (tmp_path / 'report.html').read_text()
    assert '<body>' in page
    assert 'reaches 71.23 % on the test tiles' in page
    assert 'dnas predict' in page
    assert '<title>net_a: 73 % at 2 G</title>' in page
    assert page.count('<svg') == 3
    assert '<td>water</td><td class=number>88.8</td>' in page
    rows = list(csv.reader((tmp_path / 'leaderboard.csv').open()))
    assert rows[0] == [
        'candidate', 'origin', 'mIoU, rung 2', 'mIoU, rung 1', 'seeds', 'epochs', 'steps',
        'seconds', 'multiply-adds, G', 'parameters, K', 'note',
    ]  # fmt: skip
    assert rows[1] == ['net_a', 'random', '73.00', '60.00', '2', '12', '480', '30', '2', '300', '']
    assert rows[-1][-1] == 'ValueError: mIoU is nan'
    curves = list(csv.reader((tmp_path / 'curves.csv').open()))
    assert curves == [
        ['candidate', 'epoch', 'mIoU'],
        ['net_a', '3', '60.0'],
        ['net_a', '8', '70.0'],
        ['net_a', '12', '73.0'],
    ]
    document = json.loads((tmp_path / 'leaderboard.json').read_text())
    assert document['test_mIoU'] == 71.234
    assert document['lengths'] == [25.0, 100.0]
    assert document['candidates'][0]['scores'] == [
        {'rung': 0, 'seed': 0, 'mIoU': 60.0},
        {'rung': 1, 'seed': 0, 'mIoU': 73.0},
        {'rung': 1, 'seed': 1, 'mIoU': 75.0},
    ]


def test_page_of_a_joined_selection_has_no_trained_network(board, tmp_path):
    board.decide(result(A))
    save_results(board, tmp_path, running=False)
    page = (tmp_path / 'report.html').read_text()
    assert 'net_a has the highest score' in page
    assert 'dnas predict' not in page


def test_commands_and_tooltips_escape_names(board, tmp_path):
    folder = tmp_path / 'my run'
    folder.mkdir()
    board.rows[A].name = 'a & "b" <c>'
    save_results(board, folder, running=True, storage='postgresql+psycopg://u@h/n')
    page = (folder / 'report.html').read_text()
    command = html.unescape(re.search(r'<pre>(.*?)</pre>', page)[1])
    words = shlex.split(command, comments=True)
    assert words == [
        'dnas', 'select', '--work-dir', str(folder), '--resume', '--storage',
        'postgresql+psycopg://u@h/n',
    ]  # fmt: skip
    assert '<c>' not in page
    assert page.count('class="tip"') == 2 + 1  # two points on the front, one curve


def test_per_pixel_baselines_are_in_the_leaderboard(board, tmp_path):
    board.pixels = {'per-pixel trees': 81.4, 'majority class': 12.0}
    board.decide(result(A))
    assert 'No network beats the per-pixel trees, 81.40 %' in ' '.join(board.verdict())
    save_results(board, tmp_path, running=False)
    *_, trees, majority = csv.reader((tmp_path / 'leaderboard.csv').open())
    assert trees == ['per-pixel trees', 'per-pixel', '81.40', *[''] * 7, 'no network']
    assert majority[2] == '12.00'
    assert json.loads((tmp_path / 'leaderboard.json').read_text())['pixels'] == board.pixels
    board.pixels = {'per-pixel trees': 60.0}
    assert 'No network beats' not in ' '.join(board.verdict())

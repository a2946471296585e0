import pytest

from dnas_mmseg.selection.lengths import Lengths, Trainings
from dnas_mmseg.selection.progress import Progress, rung_of, show_plan
from dnas_mmseg.selection.queue import Outcome

LENGTHS = Lengths((100.0, 300.0, 900.0), 12.0, 7200.0, 20.0)
TRAININGS = Trainings((27, 9, 3), (7, 3, 1), (7 / 9, 6 / 9, 6 / 9), 7.0)  # of four workers


def test_show_plan(capsys):
    show_plan(LENGTHS, TRAININGS, workers=4, typical_epoch=10.0)
    output = capsys.readouterr().out
    # 27 trainings of 120 s in seven turns, 9 of 220 s in three, 3 of 620 s at once.
    for text in ('selection in 2:00:00', '0:02:00', '0:14:00', '0:03:40', '0:11:00', '0:10:20'):
        assert text in output
    assert 'about 90' in output
    assert '1:24:40' in output  # the rest is the winner's
    assert '4 in parallel; a promotion continues the training; estimated end' in output
    assert 'note:' not in output


def test_note_for_trainings_of_one_epoch(capsys):
    show_plan(LENGTHS, TRAININGS, workers=4, typical_epoch=80.0)
    assert 'note: the shortest trainings have about one epoch' in capsys.readouterr().out


def test_one_line_per_training_without_a_terminal(capsys):
    trainings = Trainings((3, 1), (3, 1), (3 * 40 / 140, 100 / 140), 1.6)
    with Progress(trainings, Lengths((40.0, 140.0), 3.0, 500.0, 10.0)) as progress:
        assert not progress.update({'a-0-0': 'one'}, {})
        done = {'a-0-0': Outcome(71.234)}
        assert progress.update({'b-0-0': 'one'}, done)
        assert progress.left == pytest.approx(2 * 50 + 110)
        done['b-0-0'] = Outcome(None, 'loss is NaN')
        assert progress.update({}, done)
        assert not progress.update({}, done)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('  (')[0] for line in lines] == [
        '1 of 4  a-0-0: 71.23',
        '2 of 4  b-0-0: loss is NaN',
    ]
    assert '(0:03:30 left)' in lines[0]


@pytest.mark.parametrize(('key', 'rung'), [('dnas_12ab34cd-0-0', 0), ('fcn-hr18s-2-3', 2)])
def test_rung_of_a_key(key, rung):
    assert rung_of(key) == rung

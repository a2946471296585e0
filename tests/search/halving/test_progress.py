import pytest

from dnas_mmseg.search.halving.plan import SelectionPlan
from dnas_mmseg.search.halving.progress import Progress, planned_seconds, rung_of, show_plan
from dnas_mmseg.search.halving.schedule import Pace
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.selection.study import Outcome


def test_show_plan(capsys):
    plan = SelectionPlan(network=SearchPlan(), budget=12)
    show_plan(plan, (1 / 9, 1.0), full=900.0, counts=(27, 9), epochs=60, workers=4)
    output = capsys.readouterr().out
    for text in ('27', '9', '60', '0:01:40', '0:11:40', '0:45:00', '0:15:00', '1:11:40', '37'):
        assert text in output
    assert '4 in parallel; estimated end' in output
    assert 'note:' not in output


@pytest.mark.parametrize(
    ('rungs', 'noted'), [((1 / 5, 1.0), True), ((2 / 5, 1.0), False), ((1.0,), False)]
)
def test_note_for_trainings_of_one_epoch(rungs, noted, capsys):
    plan = SelectionPlan(network=SearchPlan(), budget=12)
    show_plan(plan, rungs, full=900.0, counts=(6,) * len(rungs), epochs=5, workers=1)
    assert ('note: trainings of one epoch' in capsys.readouterr().out) == noted


def test_planned_seconds_include_an_overhead():
    pace = Pace(fixed=0.01, per_mac=1e-11, typical=1e9)
    steps = 300 * 60 * 0.02
    assert steps < planned_seconds(pace, samples=300, epochs=60) < 1.3 * steps


def test_one_line_per_training_without_a_terminal(capsys):
    with Progress((3, 1), (0.5, 1.0), full=100.0, workers=1) as progress:
        assert not progress.update({'a-0-0': 'one'}, {})
        done = {'a-0-0': Outcome(71.234)}
        assert progress.update({'b-0-0': 'one'}, done)
        done['b-0-0'] = Outcome(None, 'loss is NaN')
        assert progress.update({}, done)
        assert not progress.update({}, done)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('  (')[0] for line in lines] == [
        '1 of 4  a-0-0: 71.23',
        '2 of 4  b-0-0: loss is NaN',
    ]
    assert '(0:03:20 left)' in lines[0]  # two of three at half the cost and one full: 2 x 100 s


@pytest.mark.parametrize(('key', 'rung'), [('dnas_12ab34cd-0-0', 0), ('fcn-hr18s-2-3', 2)])
def test_rung_of_a_key(key, rung):
    assert rung_of(key) == rung

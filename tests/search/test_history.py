import math

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.history import Epoch, SearchHistory
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture

DECISIONS = (
    *(Decision('operation', (layer, 0), ('conv', 'pool')) for layer in range(3)),
    *(Decision('gate', (layer, 0), ((0, 0),)) for layer in range(3)),
    Decision('incoming', (1, 0), ((0, 0),)),
)


def history(*epochs, searching=True):
    """History of (first probability of operations, probability of gates, path) per epoch."""
    made = SearchHistory('Net', DECISIONS)
    for i, (op, gate, path) in enumerate(epochs, 1):
        ops = tuple((p, 1 - p) for p in (op if isinstance(op, tuple) else (op,) * 3))
        gates = tuple((p,) for p in (gate if isinstance(gate, tuple) else (gate,) * 3))
        found = DNASArchitecture(name='n', level='path', layers=len(path), path=path)
        made.epochs.append(Epoch(i, searching, (*ops, *gates, (1.0,)), found, 0.5))
    return made


def test_entropies_shares_and_gates():
    made = history(((0.5, 0.5, 1.0), (0.5, 0.9, 0.1), (0,)))
    bernoulli = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert made.entropies() == {
        'operation': pytest.approx(2 / 3),
        'gate': pytest.approx((1 + 2 * bernoulli) / 3),
    }
    assert made.operation_shares() == {'conv': pytest.approx(2 / 3), 'pool': pytest.approx(1 / 3)}
    assert made.gates() == (1, 3)


def test_unchanged():
    a, b = (0.5, 0.5, (0, 0)), (0.5, 0.5, (0, 1))
    assert history(a).unchanged == 0
    assert history(b, a, a, a).unchanged == 2
    assert history(a, a, b).unchanged == 0
    assert history(a, a, a, searching=False).unchanged == 0


@pytest.mark.parametrize(
    ('epochs', 'alarm'),
    [
        (
            [((0.9, 0.8, 0.7), (0.9, 0.1, 0.1), (0,))],
            'conv is the most probable operation of all 3',
        ),
        ([((0.9, 0.8, 0.3), 0.9, (0,))], 'all of the 3 gated edges are selected'),
        ([((0.9, 0.8, 0.3), 0.2, (0,))], 'none of the 3 gated edges are selected'),
        (
            [((0.5, 0.6, 0.4), (0.9, 0.1, 0.9 - 0.1 * i), (0,)) for i in range(6)],
            'the entropy of the operation decisions has stayed at',
        ),
    ],
)
def test_alarms(epochs, alarm):
    alarms = history(*epochs).alarms()
    assert len(alarms) == 1
    assert alarm in alarms[0]
    assert history(*epochs, searching=False).alarms() == []


def test_no_alarm_for_changing_entropies():
    moving = [((0.5 + i / 20, 0.6, 0.4), (0.9, 0.1, 0.9 - 0.1 * i), (0,)) for i in range(6)]
    assert history(*moving).alarms() == []


def test_files(tmp_path):
    made = history((0.5, 0.2, (0, 1)), (0.6, 0.3, (0, 0)))
    made.save(tmp_path)
    assert SearchHistory.load(tmp_path) == made
    path = tmp_path / 'history.json'
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=r'history\.json: not the history of a search'):
        SearchHistory.load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match='no such file; a search writes it after every epoch'):
        SearchHistory.load(tmp_path)

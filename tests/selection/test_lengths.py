import pytest

from dnas_mmseg.selection.lengths import Lengths, count_trainings, fit_lengths


def total(lengths, workers):
    """Time of the trainings of a selection, in seconds; a rung waits for the one below it."""
    counts = count_trainings(lengths.fidelities, lengths.budget, 9, 1000)
    steps = [b - a for a, b in zip((0.0, *lengths.seconds), lengths.seconds, strict=False)]
    turns = [-(-count // workers) for count in counts]
    contest = sum(n * (step + lengths.overhead) for n, step in zip(turns, steps, strict=True))
    return contest + lengths.longest


@pytest.mark.parametrize('workers', [1, 2, 4, 16])
@pytest.mark.parametrize('hours', [0.5, 2, 8, 48])
def test_hours_are_used_and_a_third_goes_into_the_longest_trainings(hours, workers):
    lengths = fit_lengths(
        3600 * hours, workers, epoch=6.0, least=40.0, schedule=360.0, validation=2.0
    )
    assert 0.85 * 3600 * hours < total(lengths, workers) < 1.1 * 3600 * hours
    counts = count_trainings(lengths.fidelities, lengths.budget, 9, 1000)
    assert len(counts) == len(lengths.seconds) == 3
    assert min(counts) >= 2
    last = counts[-1] * (lengths.seconds[-1] - lengths.seconds[-2]) / workers + lengths.longest
    assert 1 / 4 < last / (3600 * hours) < 2 / 3


def test_more_hours_lengthen_first_and_then_also_add_candidates():
    def fitted(hours):
        return fit_lengths(3600 * hours, 1, epoch=6.0, least=40.0, schedule=360.0, validation=0.0)

    short, longer, longest = fitted(0.5), fitted(1.5), fitted(24)
    assert short.budget == longer.budget == 3.0
    assert longer.longest > 2.9 * short.longest
    assert longest.budget > 3 * longer.budget
    assert longest.longest > 3 * longer.longest


@pytest.mark.parametrize(
    ('epoch', 'rungs'), [(5.0, 3), (60.0, 2), (200.0, 1), (500.0, 0), (4000.0, 0)]
)
def test_no_training_is_shorter_than_an_epoch(epoch, rungs):
    lengths = fit_lengths(1200.0, 1, epoch, 20.0, schedule=1e6, validation=0.0)
    assert len(lengths.seconds) == rungs
    assert all(length >= epoch for length in lengths.seconds)
    assert lengths.total == 1200.0


@pytest.mark.parametrize(('hours', 'counts'), [(0.5, [5, 3]), (2, [13, 4, 2])])
def test_short_hours_compare_fewer_candidates_for_longer(hours, counts):
    """A first rung of three that is too short to rank networks is left out."""
    lengths = fit_lengths(3600 * hours, 1, epoch=4.0, least=70.0, schedule=260.0, validation=1.0)
    assert count_trainings(lengths.fidelities, lengths.budget, 8, 1000) == counts
    assert lengths.seconds[0] > 70
    assert 0.85 * 3600 * hours < total(lengths, 1) < 1.05 * 3600 * hours


def test_document():
    lengths = fit_lengths(3600, 1, epoch=10, least=60, schedule=600, validation=2)
    assert Lengths.parse(lengths.to_document()) == lengths
    assert lengths.fidelities == pytest.approx((1 / 9, 1 / 3, 1))


@pytest.mark.parametrize(
    ('fidelities', 'budget', 'available', 'counts'),
    [
        ((1 / 9, 1 / 3, 1.0), 3.0, 1000, [9, 3, 2]),
        ((1 / 9, 1 / 3, 1.0), 9.0, 1000, [29, 9, 5]),
        ((1 / 9, 1 / 3, 1.0), 3.0, 3, [3, 3, 3]),
        ((1 / 3, 1.0), 11 / 3, 1000, [5, 3]),
        ((1.0,), 3.0, 1000, [3]),
    ],
)
def test_count_trainings(fidelities, budget, available, counts):
    assert count_trainings(fidelities, budget, min(available, 9), available) == counts

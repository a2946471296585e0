import heapq

import numpy as np
import pytest

from dnas_mmseg.selection.algorithm import selection_steps
from dnas_mmseg.selection.lengths import Lengths, count_trainings, fit_lengths

INITIAL = 9


class Close:
    """A thousand candidates whose scores are too close to end early."""

    continues, noise = True, 1e9

    def __init__(self, fidelities):
        self.fidelities = fidelities

    def random(self, rng):
        return int(rng.integers(1000))

    def neighbours(self, candidate, rng):
        return [(candidate + 1) % 1000]

    def encode(self, candidate):
        return np.array([candidate], float)

    def cost(self, candidate):
        return 1.0


def total(lengths, workers):
    """Seconds of a selection whose trainings are as long as planned, with the winner's."""
    problem, rng = Close(lengths.fidelities), np.random.default_rng(0)
    steps = selection_steps(problem, lengths.budget, 0, None, range(INITIAL))
    batch, free, trained = next(steps), [0.0] * workers, {}
    while True:
        for request in batch:
            key = request.candidate, request.seed
            length = lengths.seconds[request.fidelity]
            starts = 1 + request.fidelity if request.seed else 1
            begin = heapq.heappop(free) + starts * lengths.overhead
            heapq.heappush(free, begin + length - trained.get(key, 0.0))
            trained[key] = length
        free = [max(free)] * workers  # the next batch waits for this one
        try:
            batch = steps.send([rng.normal(70, 1) for _ in batch])
        except StopIteration as finished:
            result = finished.value
            break
    planned = count_trainings(lengths.fidelities, lengths.budget, INITIAL, 1000, workers).cost
    assert result.spent == pytest.approx(planned)  # nothing is left for the winner
    return free[0] + lengths.longest + lengths.overhead


def fitted(seconds, workers, **settings):
    return fit_lengths(seconds, workers, initial=INITIAL, available=1000, **settings)


@pytest.mark.parametrize('workers', [1, 2, 4, 16])
@pytest.mark.parametrize('hours', [0.5, 2, 8, 48])
def test_hours_are_used_and_a_third_goes_into_the_longest_trainings(hours, workers):
    lengths = fitted(3600 * hours, workers, epoch=6.0, least=40.0, schedule=360.0, validation=2.0)
    assert total(lengths, workers) == pytest.approx(3600 * hours, rel=0.02)
    counts = count_trainings(lengths.fidelities, lengths.budget, INITIAL, 1000, workers).counts
    assert len(counts) == len(lengths.seconds) == 3
    assert min(counts) >= 2
    last = counts[-1] * (lengths.seconds[-1] - lengths.seconds[-2]) / workers + lengths.longest
    assert 1 / 4 < last / (3600 * hours) < 2 / 3


def test_more_hours_lengthen_first_and_then_also_add_candidates():
    short, longer, longest = (
        fitted(3600 * hours, 1, epoch=6.0, least=40.0, schedule=360.0, validation=0.0)
        for hours in (0.5, 1.5, 24)
    )
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
    trainings = count_trainings(lengths.fidelities, lengths.budget, 8, 1000, 1)
    assert list(trainings.counts) == counts
    assert lengths.seconds[0] > 70
    assert total(lengths, 1) == pytest.approx(3600 * hours, rel=0.02)


def test_document():
    lengths = fit_lengths(3600, 1, epoch=10, least=60, schedule=600, validation=2)
    assert Lengths.parse(lengths.to_document()) == lengths
    assert lengths.fidelities == pytest.approx((1 / 9, 1 / 3, 1))


@pytest.mark.parametrize(
    ('fidelities', 'budget', 'available', 'counts', 'starts'),
    [
        ((1 / 9, 1 / 3, 1.0), 3.0, 1000, [9, 3, 2], [5, 2, 1]),
        # 9 and 10 random ones, and four batches of proposals; a single repeat is not made.
        ((1 / 9, 1 / 3, 1.0), 9.0, 1000, [29, 9, 5], [10 + 2 + 2 + 2 + 1, 5, 2 + 1]),
        # Two repeats at once, which have all rungs.
        ((1 / 9, 1 / 3, 1.0), 16.0, 1000, [51, 17, 8], [27, 9, 3 + 3]),
        ((1 / 9, 1 / 3, 1.0), 3.0, 3, [3, 3, 3], [2, 2, 2]),
        ((1 / 3, 1.0), 11 / 3, 1000, [5, 3], [3, 2]),
        ((1.0,), 3.0, 1000, [3], [2]),
    ],
)
def test_count_trainings(fidelities, budget, available, counts, starts):
    trainings = count_trainings(fidelities, budget, min(available, 9), available, workers=2)
    assert (list(trainings.counts), list(trainings.starts)) == (counts, starts)
    steps = np.diff((0.0, *fidelities))
    times = [start * step for start, step in zip(starts, steps, strict=True)]
    if budget == 16.0:  # a repeat has all rungs
        times[-1] = 3 * steps[-1] + 1
    assert trainings.times == pytest.approx(times)

"""Tests of the selection algorithm on synthetic problems."""

import itertools
import math

import numpy as np
import pytest

from dnas_mmseg.selection.algorithm import (
    SelectionError,
    run_steps,
    select,
    selection_steps,
)
from dnas_mmseg.selection.algorithm.estimates import Estimates


class Digits:
    """Candidates of six digits, with a score that is linear in them, spread by seed."""

    def __init__(self, fidelities=(0.1, 1.0), spread=0.0, broken=()):
        self.fidelities, self.spread, self.broken = fidelities, spread, set(broken)
        self.asked = []

    def random(self, rng):
        return tuple(rng.integers(0, 4, 6).tolist())

    def neighbours(self, candidate, rng):
        return [
            (*candidate[:i], digit, *candidate[i + 1 :])
            for i in range(6)
            for digit in range(4)
            if digit != candidate[i]
        ]

    def encode(self, candidate):
        return np.array(candidate, float)

    def cost(self, candidate):
        return 1.0 + sum(candidate)

    def truth(self, candidate):
        return float(np.dot(candidate, (3, -2, 1, 1, -1, 0.5)))

    def evaluate(self, candidate, fidelity, seed):
        self.asked.append((candidate, fidelity, seed))
        if candidate[0] in self.broken:
            raise RuntimeError('out of memory')
        rng = np.random.default_rng((*candidate, fidelity, seed))
        spread = self.spread * (3 if self.fidelities[fidelity] < 1 else 1)
        return self.truth(candidate) + spread * rng.standard_normal()


BEST = 3 * 3 + 3 + 3 + 1.5


@pytest.mark.parametrize('fidelities', [(1.0,), (0.1, 1.0), (0.05, 0.1, 1.0), (1 / 9, 1 / 3, 1.0)])
@pytest.mark.parametrize('budget', [1, 1.2, 3.7, 12, 24])
def test_budget_is_used_and_not_exceeded(fidelities, budget):
    problem = Digits(fidelities)
    result = select(problem, budget, 0)
    spent = sum(fidelities[trial.fidelity] for trial in result.trials)
    assert result.spent == pytest.approx(spent)
    assert budget - 1 < result.spent <= budget + 1e-9
    assert [trial[:3] for trial in result.trials] == problem.asked
    assert len(set(problem.asked)) == len(problem.asked)  # no training is repeated
    assert any(trial.fidelity == len(fidelities) - 1 for trial in result.trials)


def test_finds_the_optimum_of_a_linear_problem():
    result = select(Digits(), 16, 0)
    assert Digits().truth(result.best) == result.score == BEST
    assert not result.failures
    first = {trial.candidate: trial.score for trial in result.trials if trial.fidelity == 0}
    assert len(first) == 80  # half of the budget
    # A third of the first rung is random.
    sampled, proposed = list(first)[:27], list(first)[27:]
    assert result.control == {candidate: first[candidate] for candidate in sampled}
    assert np.mean([first[c] for c in sampled]) + 5 < np.mean([first[c] for c in proposed])


class Rough(Digits):
    """Candidates with independent random scores, which a surrogate cannot predict."""

    def truth(self, candidate):
        return float(np.random.default_rng(candidate).standard_normal())


def test_promotion_uses_scores_if_the_surrogate_is_useless():
    for seed in range(5):
        problem = Rough(spread=0.01)
        result = select(problem, 12, seed)
        cheap = {t.candidate: t.score for t in result.trials if t.fidelity == 0}
        full = {t.candidate for t in result.trials if t.fidelity == 1}
        assert full <= set(cheap)
        assert len(full & set(sorted(cheap, key=cheap.get)[-8:])) >= 4
        assert problem.truth(result.best) == max(map(problem.truth, full))


def test_same_seed_gives_the_same_result():
    results = [select(Digits(spread=0.5), 10, seed) for seed in (3, 3, 4)]
    assert results[0] == results[1]
    assert results[0].trials != results[2].trials


def test_result_does_not_depend_on_the_order_within_a_batch():
    problem, expected = Digits(spread=0.5), select(Digits(spread=0.5), 10, 3)
    steps = selection_steps(problem, 10, 3)
    requests = next(steps)
    sizes = []
    result = None
    while result is None:
        sizes.append(len(requests))
        scores = {request: problem.evaluate(*request) for request in reversed(requests)}
        try:
            requests = steps.send([scores[request] for request in requests])
        except StopIteration as finished:
            result = finished.value
    assert result == expected
    assert sizes[0] == 17
    assert max(sizes[1:]) > 1


def test_cost_limit():
    problem = Digits()
    result = select(problem, 12, 0, cost_limit=7.0)
    assert max(problem.cost(candidate) for candidate, *_ in problem.asked) <= 7
    within = [c for c in itertools.product(range(4), repeat=6) if problem.cost(c) <= 7]
    assert problem.truth(result.best) == max(map(problem.truth, within))


def test_failed_candidates_are_discarded():
    problem = Digits(broken={3})
    result = select(problem, 12, 0)
    assert result.best[0] == 2
    assert 0 < len(result.failures) < 20
    assert all(candidate[0] == 3 for candidate in result.failures)
    assert set(result.failures.values()) == {'out of memory'}
    failed = [trial for trial in result.trials if np.isnan(trial.score)]
    assert {trial.candidate for trial in failed} == set(result.failures)
    assert result.spent <= 12


def test_nan_scores_are_failures():
    problem = Digits()
    problem.evaluate = lambda candidate, fidelity, seed: float('nan')
    with pytest.raises(
        SelectionError, match='all 7 trainings of the first rung failed; the first: nan'
    ):
        select(problem, 4, 0)


def test_best_candidates_are_repeated():
    """The budget for repeats is spent, so that a single lucky score does not win."""
    problem = Digits(fidelities=(1.0,), spread=2.0)
    result = select(problem, 30, 0)
    scores = {}
    for candidate, _, seed, score in result.trials:
        scores.setdefault(candidate, []).append(score)
        assert len(scores[candidate]) == seed + 1
    assert sum(len(own) > 1 for own in scores.values()) == 3  # an eighth of the budget
    assert result.score == pytest.approx(np.mean(scores[result.best]))
    assert 0.5 < result.noise < 5
    assert result.undecided
    near = (result.best, *result.undecided)
    assert problem.cost(result.cheapest) == min(map(problem.cost, near))
    best = max((own for own in scores.values() if len(own) > 1), key=np.mean)
    assert result.score > np.mean(best) - 2 * problem.spread


class Few(Digits):
    """Three candidates with two tabulated scores each."""

    def random(self, rng):
        return (int(rng.integers(3)),)

    def neighbours(self, candidate, rng):
        return []

    def evaluate(self, candidate, fidelity, seed):
        return ((73.57, 73.27), (73.09, 73.0), (70.0, 70.0))[candidate[0]][seed]


def test_lead_is_undecided_after_a_single_repeat():
    """The variance of two scores is too uncertain to decide a lead of 0.33."""
    result = select(Few(fidelities=(1.0,)), 4, 0)
    assert (result.best, result.undecided) == ((0,), ((1,),))
    assert result.noise == pytest.approx(0.3 / 2**0.5)


def test_equal_scores():
    problem = Digits()
    problem.evaluate = lambda candidate, fidelity, seed: 1.0
    result = select(problem, 8, 0)
    assert result.score == 1
    assert problem.cost(result.cheapest) <= min(map(problem.cost, result.undecided))


def test_a_space_of_three_candidates():
    problem = Digits()
    problem.random = lambda rng: (int(rng.integers(3)), 0, 0, 0, 0, 0)
    problem.neighbours = lambda candidate, rng: []
    result = select(problem, 20, 0)
    assert result.best == (2, 0, 0, 0, 0, 0)
    assert result.spent < 20  # no candidate is left to train


def test_errors():
    with pytest.raises(SelectionError, match=r'budget = 0\.9: expected at least 1 full training'):
        select(Digits(), 0.9, 0)
    with pytest.raises(SelectionError, match=r'costs at most 0\.5: increase the limit'):
        select(Digits(), 12, 0, cost_limit=0.5)


def test_initial_candidates():
    problem, initial = Digits(), [(0, 1, 2, 3, 0, 0), (3, 2, 1, 0, 0, 0)]
    steps = selection_steps(problem, 8, 0, initial=initial)
    first = [request.candidate for request in next(steps)]
    assert first[:2] == initial
    assert len(set(first)) == len(first)
    expensive = max(initial, key=problem.cost)
    with pytest.raises(SelectionError, match=r'initial candidate .* costs .* more than the limit'):
        next(selection_steps(problem, 8, 0, problem.cost(expensive) - 1, initial=[expensive]))


def test_a_failed_repeat_keeps_the_candidate():
    problem = Digits(fidelities=(1.0,), spread=2.0)
    evaluate = problem.evaluate

    def fails_in_repeats(candidate, fidelity, seed):
        if seed:
            raise RuntimeError('no labels in this split')
        return evaluate(candidate, fidelity, seed)

    problem.evaluate = fails_in_repeats
    result = select(problem, 30, 0)
    assert result.spent > 29
    scores = {t.candidate: t.score for t in result.trials if t.seed == 0}
    assert result.best == max(scores, key=scores.get)
    repeats = [(t.candidate, t.seed) for t in result.trials if t.seed]
    assert len(repeats) == len(set(repeats)) == 3  # no training is repeated with the same seed


class Continued(Digits):
    """Trainings that continue, and two families: even and odd first digits.

    No lead is final, unless a test sets ``noise``.
    """

    continues = True
    noise = math.inf

    def __init__(self, fidelities=(1 / 9, 1 / 3, 1.0), spread=0.0):
        super().__init__(fidelities, spread)

    def family(self, candidate):
        return candidate[0] % 2


def test_promotions_of_continued_trainings_cost_the_difference():
    problem = Continued()
    result = select(problem, 3.0, 0)
    by_rung = [[t.candidate for t in result.trials if t.fidelity == f] for f in range(3)]
    assert list(map(len, by_rung)) == [9, 3, 2]
    assert set(by_rung[2]) < set(by_rung[1]) < set(by_rung[0])
    assert result.spent == pytest.approx(9 / 9 + 3 * (1 / 3 - 1 / 9) + 2 * (1 - 1 / 3))
    # Without a score below, a candidate is not trained from scratch at a higher fidelity.
    assert result.spent <= 3.0


def test_a_repeat_of_a_continued_training_costs_a_whole_one():
    problem = Continued(spread=1.0)
    result = select(problem, 24.0, 0)
    repeats = [trial for trial in result.trials if trial.seed > 0]
    assert len(repeats) >= 3
    first = [trial for trial in result.trials if trial.seed == 0]
    fidelities = dict(enumerate(problem.fidelities))
    steps = {f: fidelities[f] - fidelities.get(f - 1, 0.0) for f in fidelities}
    assert result.spent == pytest.approx(len(repeats) + sum(steps[t.fidelity] for t in first))
    assert 20 < result.spent <= 24


def test_every_family_is_sampled_and_has_a_seat():
    """The odd family is far worse; the best of it is still compared at the full fidelity."""
    problem = Continued()
    problem.truth = lambda c: sum(c) - 100.0 * (c[0] % 2)
    result = select(problem, 3.0, 0)
    for fidelity in range(3):
        families = {problem.family(t.candidate) for t in result.trials if t.fidelity == fidelity}
        assert families == {0, 1}
    assert problem.family(result.best) == 0


def test_kinds_have_seats():
    """The best of the kind ``candidate[1] == 0`` reaches the last rung, although it is worse."""
    problem = Continued()
    problem.family = lambda candidate: None
    problem.truth = lambda c: sum(c) - 50.0 * (c[1] == 0)
    steps = selection_steps(problem, 3.0, 0, kind=lambda candidate: candidate[1] == 0)
    result = run_steps(steps, lambda request: problem.truth(request.candidate))
    assert {t.candidate[1] == 0 for t in result.trials if t.fidelity == 2} == {True, False}


def test_encodings_of_families_may_differ_in_length():
    problem = Continued()
    problem.encode = lambda c: np.array(c[: 6 - c[0] % 2], float)
    result = select(problem, 12.0, 0)
    assert problem.truth(result.best) > BEST - 4


def test_promotion_takes_other_costs_than_those_of_the_best():
    """A quarter of the seats is for other bands of cost."""
    problem = Continued((1 / 3, 1.0))
    problem.family = lambda candidate: None
    problem.truth = lambda c: float(sum(c))  # the best are the most expensive
    result = select(problem, 12.0, 0)
    first = sorted(problem.cost(t.candidate) for t in result.trials if t.fidelity == 0)
    promoted = sorted(problem.cost(t.candidate) for t in result.trials if t.fidelity == 1)
    assert promoted[0] <= first[2 * len(first) // 3] < promoted[-1]


def test_assumed_noise_makes_a_small_lead_undecided():
    problem = Continued((1 / 3, 1.0))
    problem.noise = 0.0
    decided = select(problem, 3.0, 0)
    assert (decided.noise, decided.undecided, decided.cheapest) == (None, (), decided.best)
    problem.noise = 20.0
    undecided = select(problem, 3.0, 0)
    assert (undecided.noise, undecided.best) == (None, decided.best)
    (other,) = undecided.undecided
    assert undecided.cheapest == min(decided.best, other, key=problem.cost)


class Curves(Continued):
    """Candidates whose scores rise by the same amount with each tripling of the length."""

    noise = 0.25

    def __init__(self, curves):
        super().__init__()
        self.curves = curves  # score at the first fidelity, and gain per tripling

    def random(self, rng):
        return (int(rng.integers(len(self.curves))),)

    def neighbours(self, candidate, rng):
        return []

    def encode(self, candidate):
        return np.zeros(1)

    def family(self, candidate):
        return candidate

    def evaluate(self, candidate, fidelity, seed):
        score, gain = self.curves[candidate[0]]
        return score + gain * fidelity


def test_ends_when_no_other_curve_reaches_the_leader():
    problem = Curves([(75, 2.0), (73, 2.5), (70, 4.0), (60, 1.0)])
    result = select(problem, 3.0, 0)
    by_rung = [sum(t.fidelity == f for t in result.trials) for f in range(3)]
    assert by_rung == [4, 3, 0]
    assert (result.best, result.fidelity, result.score) == ((0,), 1, 77.0)
    assert result.undecided == ()
    assert result.spent == pytest.approx(4 / 9 + 3 * 2 / 9)


def test_a_slow_starter_may_win():
    """At the second fidelity it is 3 points behind, and closes 4 with each tripling."""
    problem = Curves([(75, 1.0), (68, 5.0), (74, 1.0), (60, 1.0)])
    result = select(problem, 3.0, 0)
    assert (result.best, result.fidelity, result.score) == ((1,), 2, 78.0)
    # The one whose gap of 1 point stays has no seat, although it is second there.
    assert {t.candidate for t in result.trials if t.fidelity == 2} == {(0,), (1,)}


def fail_at(problem, failing):
    """Make all trainings at a fidelity fail."""
    evaluate = problem.evaluate

    def fail(candidate, fidelity, seed):
        if fidelity == failing:
            raise RuntimeError('out of memory')
        return evaluate(candidate, fidelity, seed)

    problem.evaluate = fail


def test_all_promoted_candidates_may_fail():
    """Then the best of the others of the rung below are trained."""
    problem = Curves([(75 - i, 1.0) for i in range(9)])
    fail_at(problem, 1)
    result = select(problem, 3.0, 0)
    failed = {trial.candidate for trial in result.trials if trial.fidelity == 1}
    assert failed == {(0,), (1,), (2,)} == result.failures.keys()
    assert (result.best, result.fidelity) == ((3,), 2)
    first = {trial.candidate for trial in result.trials if trial.fidelity == 0}
    assert {trial.candidate for trial in result.trials} == first


def test_all_finalists_may_fail():
    """Then the best of the others of the rung below wins."""
    problem = Curves([(75 - 0.1 * i, 1.0) for i in range(9)])
    fail_at(problem, 2)
    result = select(problem, 3.0, 0)
    assert {trial.candidate for trial in result.trials if trial.fidelity == 2} == {(0,), (1,)}
    assert (result.best, result.fidelity, result.score) == ((2,), 1, 75.8)
    assert result.failures.keys() == {(0,), (1,)}


def test_repeats_of_continued_trainings_are_at_once():
    problem = Curves([(75 - 0.1 * i, 1.0) for i in range(30)])
    batches = []
    steps = selection_steps(problem, 27.0, 0)
    batch = next(steps)
    try:
        while True:
            batches.append(batch)
            batch = steps.send([problem.evaluate(*r) + 0.1 * r.seed for r in batch])
    except StopIteration as finished:
        result = finished.value
    repeats = [batch for batch in batches if batch[0].seed]
    assert [len(batch) for batch in repeats] == [3]
    assert result.spent <= 27.0


def test_repeats_on_harder_tiles_are_compared_in_pairs():
    """The tiles of the second seed cost every network 8 points, which is no noise of a score."""
    estimates = Estimates(1, lambda candidate: 0, seed=0, noise=1.0, paired=True)
    scores = {'a': (80.0, 72.1), 'b': (79.0, 70.9), 'c': (75.0,)}
    for candidate, own in scores.items():
        estimates.add_candidate(candidate, np.zeros(1))
        for seed, score in enumerate(own):
            estimates.add_score(candidate, 0, seed, score)
    assert estimates.noise_variance == pytest.approx(0.01)
    assert estimates.mean('a', 0) == pytest.approx(80.05)
    assert (estimates.leads('a', 'b'), estimates.leads('b', 'c')) == (True, True)
    assert estimates.rank() == ['a', 'b', 'c']


def test_a_single_repeat_is_not_made():
    problem = Curves([(80 - 0.1 * i, 1.0) for i in range(9)])
    assert all(trial.seed == 0 for trial in select(problem, 9.0, 0).trials)


def test_unspent_seats_are_not_repeats():
    """With a large budget only an eighth of it is for repeats; the rest is the winner's.

    A third repeat would be alone with its seed.
    """
    problem = Curves([(75, 1.0), (68, 5.0), (74, 1.0), (60, 1.0)])
    problem.evaluate = lambda c, f, seed: Curves.evaluate(problem, c, f, seed) + 0.1 * seed
    result = select(problem, 24.0, 0)
    assert result.best == (1,)
    assert sum(t.seed > 0 for t in result.trials) == 2
    assert result.spent < 6

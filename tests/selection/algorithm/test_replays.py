"""The selection algorithm on tables of networks that others trained."""

import csv

import numpy as np
import pytest

from dnas_mmseg.selection.algorithm import select


class Table:
    """2,507 trained networks of NAS-Bench-MR; the low fidelity is a quarter of the resolution."""

    def __init__(self, shared, fidelities=(0.125, 1.0)):
        with (shared / 'benchmarks/nas_bench_mr_seg.csv').open() as file:
            rows = list(csv.DictReader(file))
        self.codes = np.array([[float(n) for n in row['code'].split('-')] for row in rows])
        self.costs = [float(row['gflops']) for row in rows]
        self.scores = np.array(
            [[float(row['miou_quarter_resolution']), float(row['miou'])] for row in rows]
        )
        self.fidelities = fidelities

    def random(self, rng):
        return int(rng.integers(len(self.codes)))

    def neighbours(self, candidate, rng):
        return []

    def encode(self, candidate):
        return self.codes[candidate]

    def cost(self, candidate):
        return self.costs[candidate]

    def evaluate(self, candidate, fidelity, seed):
        return float(self.scores[candidate, fidelity - len(self.fidelities)])


@pytest.mark.parametrize(
    ('budget', 'score', 'wins'),
    [(12, 79.0, 98), pytest.param(24, 79.0, 98, marks=pytest.mark.long)],
)
def test_outperforms_random_search(shared, budget, score, wins):
    table = Table(shared)
    found, baseline = [], []
    for seed in range(100):
        result = select(table, budget, seed)
        assert result.spent <= budget
        found.append(table.scores[result.best, 1])
        sampled = np.random.default_rng(1000 + seed).integers(len(table.codes), size=budget)
        baseline.append(table.scores[sampled, 1].max())
    assert np.mean(found) >= score
    assert 100 * np.mean(np.array(found) > np.array(baseline)) >= wins


def test_outperforms_random_search_with_a_single_fidelity(shared):
    table = Table(shared, fidelities=(1.0,))
    wins = 0
    for seed in range(40):
        sampled = np.random.default_rng(1000 + seed).integers(len(table.codes), size=12)
        best = select(table, 12, seed).best
        wins += table.scores[best, 1] > table.scores[sampled, 1].max()
    assert wins >= 32


class Families:
    """Six networks of two families on a data set of GEO-Bench; cheap is a share of the data."""

    noise = 0.5
    continues = True

    def __init__(self, rows, data_set, fidelities, repeat):
        self.fidelities, self.repeat = fidelities, repeat
        self.scores, self.networks = {}, sorted({row['network'] for row in rows})
        for row in rows:
            if row['data_set'] == data_set:
                key = float(row['train_share']), row['network']
                pair = float(row['val_jaccard']), float(row['test_jaccard'])
                self.scores.setdefault(key, []).append([100 * value for value in pair])

    def random(self, rng):
        return str(rng.choice(self.networks))

    def neighbours(self, candidate, rng):
        return []

    def encode(self, candidate):
        return np.array([self.cost(candidate)])

    def cost(self, candidate):
        return float(candidate.split('-')[0].removeprefix('ResNet'))

    def family(self, candidate):
        return candidate.split('-')[1]

    def trained(self, candidate, fidelity, seed):
        scores = self.scores[self.fidelities[fidelity], candidate]
        return scores[(7 * self.repeat + 5 * seed + self.networks.index(candidate)) % len(scores)]

    def evaluate(self, candidate, fidelity, seed):
        return self.trained(candidate, fidelity, seed)[0]

    def truth(self, candidate):
        return np.mean([test for _, test in self.scores[1.0, candidate]])


@pytest.mark.parametrize('cheap', [(0.2,), (0.1, 0.2)])
def test_chooses_a_family_on_geo_bench(shared, cheap):
    """Three full trainings; the loss is that to the best network in hindsight, in points."""
    with (shared / 'benchmarks/geo_bench_families.csv').open() as file:
        rows = list(csv.DictReader(file))
    of_family, of_run, spent = [], [], []
    for data_set in sorted({row['data_set'] for row in rows}):
        for repeat in range(100):
            problem = Families(rows, data_set, (*cheap, 1.0), repeat)
            result = select(problem, 3.0, repeat)
            spent.append(result.spent)
            best = max(map(problem.truth, problem.networks))
            family = problem.family(result.best)
            members = [n for n in problem.networks if problem.family(n) == family]
            of_family.append(best - max(map(problem.truth, members)))
            of_run.append(best - problem.trained(result.best, len(cheap), 0)[1])
    assert max(spent) <= 3.0
    assert np.mean(spent) < (2.9 if len(cheap) == 1 else 2.3)  # of 2.8 without an early end
    assert np.mean(of_family) <= 0.4
    assert np.mean(of_run) <= 0.5

import itertools
import json

import numpy as np
import pytest
import torch

from dnas_mmseg.cost.table import (
    CostError,
    CostTable,
    format_cost,
    inclusion_probabilities,
    meet_target,
    require_reachable,
)


@pytest.mark.parametrize('sample_size', [1, 2, 3])
def test_inclusion_probabilities_agree_with_enumeration(rng, sample_size):
    p = rng.random((2, 5))
    p /= p.sum(1, keepdims=True)
    expected = np.zeros_like(p)
    for row in range(2):
        for order in itertools.permutations(range(5), sample_size):
            chance, left = 1.0, 1.0
            for i in order:
                chance, left = chance * p[row, i] / left, left - p[row, i]
            expected[row, list(order)] += chance
    got = inclusion_probabilities(torch.from_numpy(p), sample_size)
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(got.sum(1), sample_size)


def test_inclusion_probabilities_are_finite_for_certain_options():
    logits = torch.tensor([[60.0, 30.0, 0.0, 0.0, 0.0]], dtype=torch.double, requires_grad=True)
    included = inclusion_probabilities(logits.softmax(1), 3)
    np.testing.assert_allclose(included.detach()[0], [1, 1, 1 / 3, 1 / 3, 1 / 3], atol=1e-6)
    (gradient,) = torch.autograd.grad(included[0, 2], logits)
    assert gradient.isfinite().all()


def test_targets_are_met_as_closely_as_prices_allow(rng):
    scores, costs = rng.normal(size=60), rng.random(60)

    def decode(price):
        return scores - price * costs > 0

    def cost(selected):
        return costs[selected].sum()

    # Parts change one at a time, so no price in between is closer to the target.
    reachable = [cost(decode(price)) for price in np.linspace(-60, 60, 200_001)]
    for target in (3.0, 8.0, 25.0):
        met = cost(meet_target(lambda price, t=target: decode(price / t), cost, target))
        best = min(abs(np.log(c / target)) for c in reachable if c > 0)
        assert abs(np.log(met / target)) <= max(best, 0.01) + 1e-9
    assert (meet_target(decode, cost, cost(decode(0.0))) == decode(0.0)).all()
    assert meet_target(decode, lambda c: cost(c) + 1e-9, 1e6).all()  # the most expensive selection


def test_loading_checks_the_settings_of_a_table(tmp_path):
    table = CostTable('macs', {'space': 'dnas'}, {'stem': 1.5, 'head': 2.0})
    table.save(tmp_path / 't.json')
    loaded = CostTable.load(tmp_path / 't.json', {'space': 'dnas'})
    assert (loaded.metric, loaded.values) == (table.metric, table.values)
    with pytest.raises(CostError, match=r'is a table of other settings \(space: dnas, not other\)'):
        CostTable.load(tmp_path / 't.json', {'space': 'other'})
    with pytest.raises(CostError, match='no such table; write it by dnas'):
        CostTable.load(tmp_path / 'none.json', {})
    (tmp_path / 't.json').write_text(json.dumps({'metric': 'macs'}))
    with pytest.raises(CostError, match='is not a cost table'):
        CostTable.load(tmp_path / 't.json', {})


def test_unreachable_targets_raise_with_the_range():
    with pytest.raises(
        CostError, match=r'target 50 M multiply-adds is not .* costs are 100 M .* to 2 G'
    ):
        require_reachable(5e7, 1e8, 2e9, 'macs')
    assert format_cost(0.0123, 'latency') == '12.3 ms'

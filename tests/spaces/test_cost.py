"""Common behaviour of cost models."""

import numpy as np
import pytest

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.cost import CostModel


class Knapsack(CostModel):
    """Networks are sets of parts, which have a worth; all of them contain part 0."""

    def __init__(self, worth, costs):
        super().__init__(None, CostTable('macs', {}, dict(enumerate(costs))))
        self.worth, self.costs = worth, costs

    def cost(self, architecture):
        return sum(self.table[i] for i in architecture)

    def expected(self):
        raise NotImplementedError

    def decode(self, price=0.0):
        selected = np.flatnonzero(self.worth - price * self.costs > 0)
        return frozenset({0, *selected.tolist()})


@pytest.fixture
def costs(rng):
    return Knapsack(rng.normal(size=40), 1 + rng.random(40))


def test_range_is_the_lowest_and_the_highest_cost(costs):
    assert costs.range() == pytest.approx((costs.costs[0], costs.costs.sum()))
    found = costs.decode()
    assert costs.range(found) == (costs.cost(found),) * 2


def test_plain_decoding_is_unchanged_if_it_meets_the_target(costs):
    found = costs.decode()
    assert costs.decode_to(costs.cost(found)) == found


def test_a_target_selects_the_parts_with_the_largest_worth_per_cost(costs):
    ratio = costs.worth / costs.costs
    for target in (10.0, 25.0, 50.0):
        found = costs.decode_to(target)
        assert costs.cost(found) == pytest.approx(target, abs=2)
        omitted = [i for i in range(40) if i not in found]
        assert max(ratio[omitted]) < min(ratio[i] for i in found if i)


def test_targets_outside_the_range_decode_to_its_ends(costs):
    assert costs.decode_to(1e-3) == {0}
    assert costs.decode_to(1e3) == set(range(40))


def test_spaces_without_parts_raise(costs):
    assert costs.expected_at(7.0) == 7
    with pytest.raises(NotImplementedError, match='Knapsack does not support parts'):
        costs.within(costs.decode())

"""Behaviour that every cost model derives from the costs and the decoding of its space."""

import numpy as np
import pytest

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.cost import CostModel


class Knapsack(CostModel):
    """Networks are sets of parts, each of which is worth something; part 0 is in all of them."""

    def __init__(self, worth, costs):
        super().__init__(None, CostTable('macs', {}, dict(enumerate(costs))))
        self.worth, self.costs = worth, costs

    def cost(self, architecture):
        return sum(self.table[i] for i in architecture)

    def expected(self):
        raise NotImplementedError

    def decode(self, price=0.0):
        taken = np.flatnonzero(self.worth - price * self.costs > 0)
        return frozenset({0, *taken.tolist()})


@pytest.fixture
def costs(rng):
    return Knapsack(rng.normal(size=40), 1 + rng.random(40))


def test_the_range_is_from_the_lowest_to_the_highest_cost(costs):
    assert costs.range() == pytest.approx((costs.costs[0], costs.costs.sum()))
    found = costs.decode()
    assert costs.range(found) == (costs.cost(found),) * 2


def test_what_is_preferred_anyway_stays_where_it_fits(costs):
    found = costs.decode()
    assert costs.decode_to(costs.cost(found)) == found


def test_a_target_is_met_by_giving_up_what_is_worth_least_for_its_cost(costs):
    """Or by taking what costs least worth."""
    ratio = costs.worth / costs.costs
    for target in (10.0, 25.0, 50.0):
        found = costs.decode_to(target)
        assert costs.cost(found) == pytest.approx(target, abs=2)
        left = [i for i in range(40) if i not in found]
        assert max(ratio[left]) < min(ratio[i] for i in found if i)


def test_beyond_the_range_it_is_the_nearest_end(costs):
    assert costs.decode_to(1e-3) == {0}
    assert costs.decode_to(1e3) == set(range(40))


def test_spaces_without_parts_say_so(costs):
    assert costs.expected_at(7.0) == 7
    with pytest.raises(NotImplementedError, match='Knapsack has no parts'):
        costs.within(costs.decode())

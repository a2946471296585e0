import numpy as np
import pytest

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.cost.table import CostError, CostTable
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.search.multi_target import decode_each, decode_for_all, representative_architecture
from dnas_mmseg.spaces.cost import CostModel
from dnas_mmseg.spaces.dnas.decoding import connection_lattice, decode_connections
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.space import MultiTargetMode


class Paths(CostModel):
    """Cost model of paths (identified by their cost) with a range of reachable costs each."""

    def __init__(self, ranges):
        super().__init__(None, CostTable('macs', {}, {}))
        self.ranges, self.asked, self.part = ranges, [], None

    def cost(self, architecture):
        raise NotImplementedError

    def expected(self):
        raise NotImplementedError

    def decode(self, price=0.0):
        raise NotImplementedError

    def decode_to(self, target):
        self.asked.append(target)
        return (target, self.part)

    def range(self, architecture=None):
        return self.ranges[architecture[0]]

    def within(self, architecture):
        part = Paths(self.ranges)
        part.part = architecture
        return part


TARGETS = (1e9, 2e9, 4e9)


@pytest.mark.parametrize(
    ('good', 'asked'),
    [(3e9, [3e9]), (4e9, [3e9, 4e9]), (1e9, [3e9, 4e9, 2e9, 1e9])],
    ids=['middle', 'highest target', 'lowest target'],
)
def test_order_of_decoded_targets(good, asked):
    narrow, wide = (2e9, 4e9), (1e9, 4e9)
    costs = Paths({cost: wide if cost == good else narrow for cost in (3e9, *TARGETS)})
    assert decode_for_all(costs, TARGETS, middle=3e9) == (good, None)
    assert costs.asked == asked


def test_error_for_targets_without_a_common_path():
    costs = Paths(dict.fromkeys((3e9, *TARGETS), (2e9, 3e9)))
    with pytest.raises(CostError, match=r'all of the targets 1 G .*, 2 G .*, 4 G .* separate runs'):
        decode_for_all(costs, TARGETS, middle=3e9)
    assert costs.asked == [3e9, 4e9, 2e9, 1e9]


def test_decode_each_uses_the_part_of_each_target():
    found = decode_each(Paths({}), TARGETS, ['a', None, 'b'])
    assert found == [(1e9, 'a'), (2e9, None), (4e9, 'b')]


def test_representative_architecture():
    lattice = connection_lattice(load_architecture('dnas_l12_gid5@path'))
    rng = np.random.default_rng(0)
    found = [decode_connections(lattice, rng.random(len(lattice.edges)) < 0.2) for _ in range(3)]
    joined = representative_architecture(MultiTargetMode.JOINED, found)
    assert set(joined.edges) == {edge for one in found for edge in one.edges}
    assert len(joined.edges) > max(len(one.edges) for one in found)
    for several in (MultiTargetMode.WITHIN, MultiTargetMode.SEPARATE):
        assert representative_architecture(several, found) is found[-1]


def test_search_with_two_targets(tiny, tmp_path):
    plan = SearchPlan(
        config=str(tiny[1]), layers=4, epochs=1, arch_start=0, crop=32, batch=2,
        targets=(300e3, 200e3), cost_size=32,
    )  # fmt: skip
    search(plan, tmp_path / 'run')
    for target in (200e3, 300e3):
        folder = tmp_path / f'run/targets/{target / 1e3:.0f}K'
        config = load_config(folder / 'retrain.py')
        assert abs(complexity(config, (32, 32)).macs / target - 1) < 0.1
        found = load_architecture(folder / 'architecture.json')
        assert found.provenance['cost']['predicted'] == complexity(config, (32, 32)).macs
        connected = load_architecture(tmp_path / 'run/connection.json')
        assert set(found.edges) <= set(connected.edges)
    # The work dir itself has the most expensive one.
    top = load_architecture(tmp_path / 'run/architecture.json')
    assert top == load_architecture(tmp_path / 'run/targets/300K/architecture.json')
    assert 'cost' not in load_architecture(tmp_path / 'run/connection.json').provenance

import pytest

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.cost.parts import cost_table, segmentor_cost
from dnas_mmseg.search import latency as module
from dnas_mmseg.search.latency import measure_space

SIZE = (32, 48)


def test_parts_are_calibrated_by_whole_networks(configs, monkeypatch):
    """Simulated latency of parts: their multiply-adds; of networks: 1.5 times that sum."""
    counted = []

    def parts_by_counting(parts, device, repeat, advance):
        assert repeat == 3
        counted.append(cost_table(parts, 'macs'))
        return counted[0]

    def networks_by_counting(model, metric, size):
        assert (metric, size) == ('latency', SIZE)
        return 1.5 * segmentor_cost(model, 'macs', size)

    plan = SearchPlan('dnas', config=str(configs['ours']), layers=4)
    monkeypatch.setattr(module, 'latency_table', parts_by_counting)
    monkeypatch.setattr(module, 'segmentor_cost', networks_by_counting)
    table = measure_space(plan, SIZE, repeat=3)
    assert table.facts['calibration'] == 1.5
    assert table.facts['size'] == list(SIZE)
    assert table.values.keys() == counted[0].values.keys()
    for name, value in counted[0].values.items():
        assert table.values[name] == pytest.approx(1.5 * value)

"""Networks of several costs from one search."""

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.spaces.registry import load_architecture


def test_networks_of_a_cost(tiny, tmp_path):
    """Two from one search, each at its target, in configs that train them."""
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
    # The dearest stands for all at the top.
    top = load_architecture(tmp_path / 'run/architecture.json')
    assert top == load_architecture(tmp_path / 'run/targets/300K/architecture.json')
    assert 'cost' not in load_architecture(tmp_path / 'run/connection.json').provenance

from dataclasses import replace

import numpy as np
import pytest

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.cost.parts import segmentor_cost
from dnas_mmseg.search.halving.networks import (
    Baseline,
    SpaceCandidates,
    baseline_config,
    from_document,
    to_document,
    with_digest_name,
)
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import retrain_config
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.registry import load_architecture

from ...conftest import ROOT


@pytest.fixture
def candidates(plan):
    return SpaceCandidates(plan)


def test_random_networks_neighbours_codes_and_costs(candidates, plan, rng):
    networks = [candidates.random(rng) for _ in range(20)]
    assert len({network.name for network in networks}) == len(set(networks)) > 10
    neighbours = candidates.neighbours(networks[0], rng)
    assert len(set(neighbours)) == len(neighbours) > 10
    assert networks[0] not in neighbours
    codes = np.stack([candidates.encode(network) for network in (*networks, *neighbours)])
    assert np.isfinite(codes).all()
    # The table of parts agrees with the cost of the whole segmentor.
    model = retrain_config(plan.network, networks[0]).model
    for metric in ('macs', 'params'):
        whole = segmentor_cost(model, metric, (64, 64))
        assert candidates.cost_by(networks[0], metric) == pytest.approx(whole, rel=0.02)
    assert candidates.cost(networks[0]) == candidates.cost_by(networks[0], 'macs')


def test_fidelities_are_whole_epochs(plan):
    assert SpaceCandidates(replace(plan, rungs=(1 / 9, 1.0))).fidelities == (0.5, 1.0)  # 1 of 2


def test_digest_name(candidates, rng):
    network = candidates.random(rng)
    again = replace(network, name='other', provenance={'from': 'elsewhere'})
    assert with_digest_name(again) == network
    assert with_digest_name(again).name == network.name
    assert from_document(to_document(network), []) == network


def test_initial_networks_must_be_of_the_space(candidates, plan, rng, tmp_path):
    network = candidates.random(rng)
    path = tmp_path / 'mine.json'
    replace(network, name='mine').save(path)
    chosen = replace(plan, candidates=(str(path), 'gradient'))
    assert SpaceCandidates(chosen).load_initial(path) == [network, network]
    wrong = replace(plan, candidates=('densenas_a',))
    with pytest.raises(ArchitectureError, match="--candidates needs one of space 'dnas'"):
        SpaceCandidates(wrong).load_initial(path)


def test_baseline_config_has_the_users_data(candidates, plan):
    path = str(ROOT / 'configs/pspnet/pspnet_r18-d8_gid5-rgb.py')
    baseline = Baseline('pspnet', path)
    assert baseline == Baseline('pspnet', '/elsewhere/pspnet.py')
    own = candidates.config
    config = baseline_config(baseline, own.copy())
    assert config.model.backbone.in_channels == 4
    assert config.model.decode_head.num_classes == 5
    assert config.model.data_preprocessor == own.model.data_preprocessor
    assert config.train_dataloader == own.train_dataloader
    assert candidates.cost_by(baseline, 'macs') == complexity(config, (64, 64)).macs
    assert from_document(to_document(baseline), [baseline]) == baseline
    assert SpaceCandidates(replace(plan, baselines=(path,), budget=5)).baselines == [
        Baseline('pspnet_r18-d8_gid5-rgb', path)
    ]


@pytest.mark.parametrize('space', ['autodeeplab', 'densenas'])
def test_other_spaces(space, plan, rng):
    widths = {
        'model.backbone.widths': ((8,), (8, 12), (16, 24)),
        'model.backbone.depths': (0, 1, 1),
    }
    strides = {'model.backbone.strides': (2, 4, 8), 'model.backbone.out_indices': (0, 1)}
    options = {**widths, **strides} if space == 'densenas' else {'model.backbone.layers': 4}
    network = SearchPlan(space=space, cost_size=64, search_options=options)
    candidates = SpaceCandidates(replace(plan, network=network))
    sampled = candidates.random(rng)
    assert candidates.cost(sampled) > 0
    assert len(candidates.neighbours(sampled, rng)) > 10
    assert np.isfinite(candidates.encode(sampled)).all()
    assert load_architecture(sampled.to_document()) == sampled

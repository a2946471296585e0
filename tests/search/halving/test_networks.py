"""Candidates of a selection."""

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
    named,
    to_document,
)
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import retrain_config
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.registry import load_architecture

from ...conftest import ROOT


@pytest.fixture
def candidates(plan):
    return SpaceCandidates(plan)


def test_networks_are_drawn_changed_encoded_and_counted(candidates, plan, rng):
    drawn = [candidates.random(rng) for _ in range(20)]
    assert len({network.name for network in drawn}) == len(set(drawn)) > 10
    around = candidates.neighbours(drawn[0], rng)
    assert len(set(around)) == len(around) > 10
    assert drawn[0] not in around
    codes = np.stack([candidates.encode(network) for network in (*drawn, *around)])
    assert np.isfinite(codes).all()
    # By the table of parts as by counting the whole segmentor.
    model = retrain_config(plan.network, drawn[0]).model
    for metric in ('macs', 'params'):
        whole = segmentor_cost(model, metric, (64, 64))
        assert candidates.cost_by(drawn[0], metric) == pytest.approx(whole, rel=0.02)
    assert candidates.cost(drawn[0]) == candidates.cost_by(drawn[0], 'macs')


def test_a_rung_costs_the_whole_epochs_that_it_trains(plan):
    assert SpaceCandidates(replace(plan, rungs=(1 / 9, 1.0))).fidelities == (0.5, 1.0)  # 1 of 2


def test_a_name_says_which_network_it_is(candidates, rng):
    network = candidates.random(rng)
    again = replace(network, name='other', provenance={'from': 'elsewhere'})
    assert named(again) == network
    assert named(again).name == network.name
    assert from_document(to_document(network), []) == network


def test_given_networks_are_of_the_space(candidates, plan, rng, tmp_path):
    network = candidates.random(rng)
    path = tmp_path / 'mine.json'
    replace(network, name='mine').save(path)
    chosen = replace(plan, candidates=(str(path), 'gradient'))
    assert SpaceCandidates(chosen).given(path) == [network, network]
    wrong = replace(plan, candidates=('densenas_a',))
    with pytest.raises(ArchitectureError, match="--candidates needs one of space 'dnas'"):
        SpaceCandidates(wrong).given(path)


def test_a_baseline_is_its_model_and_schedule_on_ones_own_data(candidates, plan):
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
def test_the_other_spaces_have_candidates_too(space, plan, rng):
    widths = {
        'model.backbone.widths': ((8,), (8, 12), (16, 24)),
        'model.backbone.depths': (0, 1, 1),
    }
    strides = {'model.backbone.strides': (2, 4, 8), 'model.backbone.out_indices': (0, 1)}
    options = {**widths, **strides} if space == 'densenas' else {'model.backbone.layers': 4}
    network = SearchPlan(space=space, cost_size=64, search_options=options)
    candidates = SpaceCandidates(replace(plan, network=network))
    drawn = candidates.random(rng)
    assert candidates.cost(drawn) > 0
    assert len(candidates.neighbours(drawn, rng)) > 10
    assert np.isfinite(candidates.encode(drawn)).all()
    assert load_architecture(drawn.to_document()) == drawn

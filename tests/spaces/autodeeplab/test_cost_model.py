"""Costs of the supernet's networks."""

import numpy as np
import pytest
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.spaces.autodeeplab.cost import network_cost
from dnas_mmseg.spaces.autodeeplab.decoding import random_architecture

from .conftest import STEM_CHANNELS, supernet

SIZE = (96, 80)
LOSS = dict(type='LabelledCrossEntropyLoss')


def network(architecture):
    """Config of the segmentor that a search leads to."""
    return dict(
        type='SearchedEncoderDecoder',
        backbone=dict(
            type='AutoDeepLab', architecture=architecture, filters=3, stem_channels=STEM_CHANNELS
        ),
        decode_head=dict(
            type='AutoDeepLabHead', channels=8, low_level_channels=4, num_classes=5,
            loss_decode=LOSS,
        ),
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip


@pytest.mark.parametrize('seed', range(3))
def test_a_network_costs_what_its_parts_do(seed):
    """Exactly; the filters are those of the network, not of the supernet."""
    drawn = random_architecture(4, 2, np.random.default_rng(seed), 'drawn')
    model = network(drawn)
    whole = MODELS.build(model).eval()
    counted = count(whole, whole, (1, 4, *SIZE))
    for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
        table = cost_table(supernet().parts(model, SIZE), metric)
        assert network_cost(drawn, table) == value


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_it_decodes_to_a_target(metric):
    net = supernet(layers=6, blocks=3)
    model = network(net.decode())
    costs = net.cost_model(cost_table(net.parts(model, SIZE), metric))
    least, most = costs.range()
    drawn = [
        costs.cost(random_architecture(6, 3, np.random.default_rng(i), 'x')) for i in range(50)
    ]
    assert least <= min(drawn)
    assert max(drawn) <= most
    for target in np.geomspace(1.5 * least, most / 1.5, 4):
        assert costs.cost(costs.decode_to(target)) == pytest.approx(target, rel=0.1)

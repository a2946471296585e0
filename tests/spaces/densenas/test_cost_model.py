"""Costs of the supernet's networks."""

import numpy as np
import pytest
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.spaces.densenas.decoding import random_architecture
from dnas_mmseg.spaces.densenas.supernet import DenseNASSupernet

from .test_supernet import SMALL

SIZE = (96, 80)
LOSS = dict(type='LabelledCrossEntropyLoss')


def network(architecture, **backbone):
    """Config of the segmentor that a search leads to."""
    return dict(
        type='SearchedEncoderDecoder',
        backbone=dict(type='DenseNAS', architecture=architecture, **backbone),
        decode_head=dict(
            type='DepthwiseSeparableASPPHead', channels=8, dilations=(1, 2), c1_channels=4,
            num_classes=5, loss_decode=LOSS,
        ),
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip


@pytest.mark.parametrize('block', ['mbconv', 'basic'])
@pytest.mark.parametrize('output_stride', [8, 32])
def test_a_network_costs_what_its_parts_do(block, output_stride):
    """Exactly, at the output stride of the network."""
    net = DenseNASSupernet(block, **{**SMALL, 'window': 1})
    model = network(net.decode(), output_stride=output_stride)
    metrics = ('macs', 'params')
    tables = {metric: cost_table(net.parts(model, SIZE), metric) for metric in metrics}
    for seed in range(3):
        drawn = random_architecture(net.space, np.random.default_rng(seed), 'drawn')
        model = network(drawn, output_stride=output_stride)
        whole = MODELS.build(model).eval()
        counted = count(whole, whole, (1, 4, *SIZE))
        for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
            assert net.cost_model(tables[metric]).cost(drawn) == value


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_it_decodes_to_a_target(metric):
    net = DenseNASSupernet(**SMALL)
    costs = net.cost_model(cost_table(net.parts(network(net.decode()), SIZE), metric))
    least, most = costs.range()
    for target in np.geomspace(1.2 * least, most / 1.2, 4):
        assert costs.cost(costs.decode_to(target)) == pytest.approx(target, rel=0.1)

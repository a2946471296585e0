import math

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.parts import latency_table
from dnas_mmseg.cost.table import CostError
from dnas_mmseg.errors import UserError
from dnas_mmseg.search.target import CostTarget
from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.supernet import architecture_gradients

MODEL = dict(
    type='SearchedEncoderDecoder',
    decode_head=dict(
        type='DNASHead', channels=8, num_classes=5,
        loss_decode=dict(type='LabelledCrossEntropyLoss'),
    ),
    train_cfg=dict(), test_cfg=dict(mode='whole'),
)  # fmt: skip


def supernet(stage):
    network = random_architecture(4, np.random.default_rng(1), 'x')
    backbone = {
        'Path': dict(layers=4),
        'Connection': dict(architecture=network.at_level('path')),
        'Cell': dict(architecture=network.at_level('connection')),
    }[stage]
    return MODELS.build(dict(type=f'DNAS{stage}Supernet', base_channels=4, **backbone))


@pytest.mark.parametrize(('stage', 'sign'), [('Path', 1), ('Connection', -1), ('Cell', 1)])
def test_expected_cost_converges_to_the_target(stage, sign):
    net = supernet(stage)
    cost = CostTarget('macs', 1.0, size=(64, 64))
    with pytest.raises(CostError, match='is not reachable'):
        cost.prepare(net, MODEL)
    with torch.no_grad():
        start = float(cost.costs.expected())
        extreme = cost.costs.cost(cost.costs.decode(sign / 10))
        # Probabilities couple the paths, so the expected cost does not reach the extremes.
        target = start * (extreme / start) ** 0.3
    cost = CostTarget('macs', target, weight=2.0, size=(64, 64))
    cost.prepare(net, MODEL)
    parameters = list(net.architecture_parameters().values())
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    first = None
    for _ in range(300):
        with architecture_gradients(net, parameters):
            loss = cost.loss()
            gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        cost.after_architecture_step()
        if first is None:
            first = cost.multiplier
            ratio = math.log(start / target)
            assert loss.item() == pytest.approx(2 / 2 * ratio**2, rel=1e-5)
            assert first == pytest.approx(0.01 * 2 * ratio, rel=1e-5)
    assert float(cost.costs.expected()) == pytest.approx(target, rel=0.05)
    other = CostTarget('macs', target, weight=2.0)
    other.load_state_dict(cost.state_dict())
    assert other.multiplier == cost.multiplier != first


def test_target_below_the_expected_costs():
    net = supernet('Path')
    cost = CostTarget('macs', 4e5, weight=0.5, size=(64, 64))
    cost.prepare(net, MODEL)
    assert cost.expected_target > cost.target  # the lowest expected cost
    with torch.no_grad():
        for _ in range(600):
            cost.loss()
            cost.after_architecture_step()
    assert cost.multiplier == 0.5
    # The decoded path depends on the probabilities, and its range contains the target.
    decoded = set()
    for seed in range(12):
        torch.manual_seed(seed)
        net.betas.data.normal_()
        path = cost.decode()
        least, most = cost.costs.range(path)
        assert least <= 4e5 <= most
        decoded.add(path.path)
    assert len(decoded) > 2


def test_resuming_requires_the_same_cost():
    cost = CostTarget('macs', 1e6)
    for state in (None, CostTarget('macs', 2e6).state_dict()):
        with pytest.raises(UserError, match='has another cost target'):
            cost.load_state_dict(state)


def test_latency_table_must_match_size_and_head(tmp_path):
    net = supernet('Cell')
    table = latency_table(net.parts(MODEL, (32, 32)), repeat=1)
    table.save(tmp_path / 'latency.json')
    target = float(net.expected_cost(table))
    here = dict(metric='latency', target=target, table=tmp_path / 'latency.json')
    cost = CostTarget(**here, size=(32, 32))
    cost.prepare(net, MODEL)
    assert ' ms for a target of ' in cost.describe(cost.decode())
    with pytest.raises(CostError, match=r'other settings \(size: \[32, 32\], not \[64, 64\]\)'):
        CostTarget(**here, size=(64, 64)).prepare(net, MODEL)
    with pytest.raises(CostError, match='head'):
        head = dict(MODEL['decode_head'], channels=16)
        CostTarget(**here, size=(32, 32)).prepare(net, dict(MODEL, decode_head=head))


@pytest.mark.parametrize(
    'arguments',
    [
        dict(metric='flops', target=1.0),
        dict(metric='macs', target=0.0),
        dict(metric='macs', target=[]),
        dict(metric='macs', target=1.0, weight=-1.0),
        dict(metric='macs', target=1.0, table='t.json'),
        dict(metric='latency', target=1.0),
    ],
)
def test_invalid_arguments(arguments):
    with pytest.raises(UserError):
        CostTarget(**arguments)

"""Cost tables of parts, counted or measured on a device."""

import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.parts import cost_table, head_on, latency_facts, latency_table
from dnas_mmseg.cost.table import CostError, CostTable
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS

SIZE = (96, 80)
HEAD = dict(
    type='DNASHead', channels=8, num_classes=5, loss_decode=dict(type='LabelledCrossEntropyLoss')
)


def test_latency_tables_are_measured_for_their_settings(tmp_path):
    net = MODELS.build(dict(type='DNASPathSupernet', layers=4, base_channels=4))
    model = dict(type='SearchedEncoderDecoder', decode_head=HEAD)
    table = latency_table(net.parts(model, (32, 32)), repeat=1)
    assert min(table.values.values()) > 0
    assert len(table.values) == 1 + 16 * len(OPERATIONS) + 12 + 15
    table.save(tmp_path / 'latency.json')
    facts = latency_facts(net.parts(model, (32, 32)).facts, 'cpu')
    CostTable.load(tmp_path / 'latency.json', facts)
    for other in ({'threads': 77}, {'size': [64, 64]}, {'device': 'H100'}, {'base_channels': 6}):
        with pytest.raises(CostError, match='is a table of other settings'):
            CostTable.load(tmp_path / 'latency.json', {**facts, **other})


def test_equal_parts_are_counted_once():
    net = MODELS.build(dict(type='DNASPathSupernet', layers=4, base_channels=4))
    model = dict(type='SearchedEncoderDecoder', decode_head=HEAD)
    small, large = (cost_table(net.parts(model, size), 'macs') for size in ((32, 32), (64, 64)))
    again = net.parts(model, (32, 32))
    assert cost_table(again, 'macs').values == small.values
    assert next(again.modules).name == 'stem'  # none was built
    assert large['stem'] == 4 * small['stem']


def test_heads_have_the_channels_of_the_outputs():
    model = dict(type='SearchedEncoderDecoder', decode_head=HEAD)
    assert head_on(model, [4, 16]).head.in_channels == 20


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='DNASPathSupernet', layers=4, base_channels=8),
        dict(type='AutoDeepLabSupernet', layers=4, filters=8, blocks=2, stem_channels=(8, 8, 8)),
        dict(
            type='DenseNASSupernet', widths=((8,), (16, 24), (32,), (40,), (48,)),
            strides=(2, 4, 8, 16, 32), depths=(0, 1, 1, 1, 0), window=3,
        ),
    ],
    ids=lambda backbone: backbone['type'],
)  # fmt: skip
def test_parts_have_the_norm_of_the_config(backbone):
    """Group and batch norm have equal numbers of parameters."""
    values, facts = [], []
    for norm in (dict(type='GN', num_groups=4), dict(type='BN'), dict(type='SyncBN')):
        model = dict(
            type='SearchedEncoderDecoder', backbone=backbone, decode_head=dict(HEAD, norm_cfg=norm)
        )
        net = MODELS.build(dict(**backbone, norm_cfg=norm))
        values.append(cost_table(net.parts(model, SIZE), 'params').values)
        facts.append(net.parts(model, SIZE).facts['norm'])
        part = next(part for name, part, _ in net.parts(model, SIZE).modules if name == 'stem')
        kinds = {type(module) for module in part.modules()}
        assert (torch.nn.GroupNorm in kinds) == (norm['type'] == 'GN')
        assert (torch.nn.BatchNorm2d in kinds) == (norm['type'] != 'GN')
    assert values[0] == values[1] == values[2]
    assert facts == ['GN of 4 groups', 'BN', 'BN']

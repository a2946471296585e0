import itertools

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.parts import cost_table
from dnas_mmseg.spaces.autodeeplab.architecture import OPERATIONS, Branch
from dnas_mmseg.spaces.autodeeplab.cost import (
    branch_part,
    enter_part,
    expected_cost,
    head_part,
    network_cost,
)
from dnas_mmseg.spaces.autodeeplab.decoding import OPTIONS, random_architecture
from dnas_mmseg.spaces.autodeeplab.graph import pairs, trellis

from .conftest import STEM_CHANNELS, all_cells, all_paths, edges_of, supernet


def test_expected_cost_agrees_with_enumeration(rng, table):
    layers, blocks = 4, 2
    betas = torch.from_numpy(rng.standard_normal(len(trellis(layers).edges))).requires_grad_()
    weights = {}
    for node in {source for source, _ in trellis(layers).edges}:
        edges = [i for i, (source, _) in enumerate(trellis(layers).edges) if source == node]
        for i, p in zip(edges, betas[edges].softmax(0), strict=True):
            weights[trellis(layers).edges[i]] = p
    cells = torch.from_numpy(rng.random((len(pairs(blocks)), len(OPTIONS))))
    cells = (cells / cells.sum(1, keepdim=True)).requires_grad_()
    in_order = torch.stack([weights[edge] for edge in trellis(layers).edges])
    got = expected_cost(layers, blocks, in_order, cells, table)

    row = {pair: i for i, pair in enumerate(pairs(blocks))}
    useful = cells[:, :-1]
    # Two inputs per block, sampled without replacement, and an operation for each.
    block_chances = []
    for i in range(blocks):
        rows = useful[[row[i, source] for source in range(i + 2)]]
        p = rows.amax(1) / rows.amax(1).sum()
        q = rows / rows.sum(1, keepdim=True)
        chances = {}
        for a, b in itertools.combinations(range(i + 2), 2):
            included = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
            for o, r in itertools.product(range(len(OPERATIONS)), repeat=2):
                chances[Branch(a, OPERATIONS[o]), Branch(b, OPERATIONS[r])] = (
                    included * q[a, o] * q[b, r]
                )
        block_chances.append(chances)
    cells_by_chance = [
        (cell, torch.stack([block_chances[i][block] for i, block in enumerate(cell)]).prod())
        for cell in all_cells(blocks)
    ]
    chances = torch.stack([chance for _, chance in cells_by_chance])
    assert chances.sum().item() == pytest.approx(1)
    # The mean cost of a cell follows from the mean numbers of its branches by input and operation.
    numbers = torch.zeros(len(cells_by_chance), 2, len(OPERATIONS)).double()
    for i, (cell, _) in enumerate(cells_by_chance):
        for block in cell:
            for source, name in block:
                numbers[i, int(source > 1), OPERATIONS.index(name)] += 1
    outer, inner = torch.tensordot(chances, numbers, 1)
    total = 0.0
    for path in all_paths(layers):
        cost, sources = table['stem'], ['half', 'stem', *path]
        for layer, scale in enumerate(path):
            before = path[layer - 1] if layer else 0
            stride = 2 if scale > before else 1
            cost = cost + table[enter_part(*sources[layer : layer + 2], scale, stride)]
            for numbers, own in ((outer, stride), (inner, 1)):
                costs = [table[branch_part(scale, own, name)] for name in OPERATIONS]
                cost = cost + (numbers * torch.tensor(costs).double()).sum()
        cost = cost + table[head_part(path[2], path[-1])]
        total = total + torch.stack([weights[edge] for edge in edges_of(path)]).prod() * cost
    torch.testing.assert_close(got, total)
    for mine, theirs in zip(
        torch.autograd.grad(got, (betas, cells), retain_graph=True),
        torch.autograd.grad(total, (betas, cells)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


SIZE = (96, 80)
LOSS = dict(type='LabelledCrossEntropyLoss')


def network(architecture):
    """Config of the segmentor of the searched network."""
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
def test_cost_of_a_network_is_the_sum_of_its_parts(seed):
    """Exact with the filters of the network, which differ from those of the supernet."""
    architecture = random_architecture(4, 2, np.random.default_rng(seed), 'sampled')
    model = network(architecture)
    whole = MODELS.build(model).eval()
    counted = count(whole, whole, (1, 4, *SIZE))
    for metric, value in (('macs', counted.macs), ('params', counted.parameters)):
        table = cost_table(supernet().parts(model, SIZE), metric)
        assert network_cost(architecture, table) == value


@pytest.mark.parametrize('metric', ['macs', 'params'])
def test_decoding_to_a_target(metric):
    net = supernet(layers=6, blocks=3)
    model = network(net.decode())
    costs = net.cost_model(cost_table(net.parts(model, SIZE), metric))
    least, most = costs.range()
    sampled = [
        costs.cost(random_architecture(6, 3, np.random.default_rng(i), 'x')) for i in range(50)
    ]
    assert least <= min(sampled)
    assert max(sampled) <= most
    for target in np.geomspace(1.5 * least, most / 1.5, 4):
        assert costs.cost(costs.decode_to(target)) == pytest.approx(target, rel=0.1)

"""DenseNAS spaces, their paths, and a table of their costs."""

import pytest
import torch

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.densenas.cost import (
    decoder_part,
    head_part,
    layer_part,
)
from dnas_mmseg.spaces.densenas.graph import FAMILIES, dense_space, state_trellis

MBCONV = dict(
    family='mbconv',
    widths=((16,), (24,), (32, 40, 48), (56, 64, 72), (96, 112, 128), (160, 176, 192),
            (320, 352, 384)),
    strides=(2, 4, 8, 16, 16, 32, 32), depths=(0, 3, 3, 3, 3, 3, 0), window=4,
)  # fmt: skip
RESNET = dict(
    family='basic',
    widths=((32,), (48, 56, 64), (72, 96, 112), (128, 144, 160, 176), (192, 208, 224),
            (240, 256, 272, 288), (480, 496, 512)),
    strides=(2, 4, 8, 16, 16, 32, 32), depths=(0, 0, 5, 15, 5, 5, 1), window=10,
)  # fmt: skip
SMALL = dict(
    family='mbconv', widths=((4,), (6, 8), (10, 12), (14, 16)), strides=(2, 4, 8, 8),
    depths=(0, 1, 2, 0), window=3,
)  # fmt: skip
SCALES = (0, 1)


def all_paths(space):
    """All paths, as indices of blocks."""

    def paths_from(block):
        for source, target in space.trellis.edges:
            if source == block:
                for rest in [()] if target == space.end else paths_from(target):
                    yield (block, *rest)

    return list(paths_from(0))


def weights_of(space, rng):
    """Random weights of edges, of head operations and of stack operations."""
    edges = torch.zeros(len(space.trellis.edges)).double()
    for indices in space.trellis.outgoing.values():
        edges[indices] = torch.from_numpy(rng.standard_normal(len(indices))).softmax(0)
    heads, layers = FAMILIES[space.family]
    rows = (
        torch.from_numpy(rng.standard_normal(shape)).softmax(1)
        for shape in ((len(space.inner), len(heads)), (len(space.layers), len(layers)))
    )
    return edges.requires_grad_(), *(p.requires_grad_() for p in rows)


@pytest.fixture
def space():
    return dense_space(**SMALL)


@pytest.fixture
def table(space, rng):
    heads, layers = FAMILIES[space.family]
    values = {'stem': rng.random()}
    values |= {head_part(*edge, name): rng.random() for edge in space.inner for name in heads}
    values |= {
        layer_part(block, name): rng.random() for block, _ in space.layers for name in layers[:-1]
    }
    for _, after in state_trellis(space, SCALES).edges:
        values[decoder_part(after.left)] = 5 * rng.random()
    return CostTable('macs', {'space': 'densenas'}, values)

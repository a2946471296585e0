"""Paths and cells of the Auto-DeepLab space, and a table of their costs."""

import itertools

import pytest

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.autodeeplab.architecture import OPERATIONS, Branch
from dnas_mmseg.spaces.autodeeplab.cost import (
    branch_part,
    enter_part,
    entries,
    head_part,
)
from dnas_mmseg.spaces.autodeeplab.graph import trellis
from dnas_mmseg.spaces.autodeeplab.supernet import AutoDeepLabSupernet
from dnas_mmseg.spaces.scales import STEM

STEM_CHANNELS = (4, 4, 8)


def all_paths(layers):
    """All paths, as scales."""
    following = {}
    for source, target in trellis(layers).edges:
        following.setdefault(source, []).append(target)

    def paths_from(node):
        if node.layer == layers - 1:
            yield (node.scale,)
            return
        for target in following[node]:
            for rest in paths_from(target):
                yield (node.scale, *rest)

    return [path[1:] for path in paths_from(STEM)]


def all_cells(blocks):
    """All cells."""
    per_block = []
    for block in range(blocks):
        inputs = itertools.combinations(range(block + 2), 2)
        per_block.append(
            [
                (Branch(a, o), Branch(b, p))
                for a, b in inputs
                for o, p in itertools.product(OPERATIONS, repeat=2)
            ]
        )
    return itertools.product(*per_block)


def edges_of(path):
    nodes = [STEM, *((layer, scale) for layer, scale in enumerate(path))]
    return list(itertools.pairwise(nodes))


@pytest.fixture
def table(rng):
    values = {'stem': rng.random()}
    values |= {enter_part(*entry): rng.random() for entry in entries()}
    for scale, stride, name in itertools.product(range(4), (1, 2), OPERATIONS):
        values[branch_part(scale, stride, name)] = rng.random()
    for low, last in itertools.product(range(4), repeat=2):
        values[head_part(low, last)] = 3 * rng.random()
    return CostTable('macs', {'space': 'autodeeplab'}, values)


def supernet(**options):
    return AutoDeepLabSupernet(
        **{**dict(layers=4, filters=2, blocks=2, stem_channels=STEM_CHANNELS), **options}
    )

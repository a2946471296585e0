"""The Auto-DeepLab search space: its stage and config, and operators on its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dnas_mmseg.spaces.registry import register_space
from dnas_mmseg.spaces.scales import NUM_SCALES
from dnas_mmseg.spaces.space import SearchSpace, Stage

from .architecture import ONE_BEFORE, OPERATIONS, TWO_BEFORE, AutoDeepLabArchitecture
from .decoding import random_architecture


@register_space
class AutoDeepLabSpace(SearchSpace):
    """A path through strides, and one cell for all layers (Liu et al., CVPR 2019)."""

    architecture = AutoDeepLabArchitecture
    network = 'AutoDeepLab'
    config = 'autodeeplab/autodeeplab_s_adamw-ema_gid5.py'
    stages = (Stage('cell', 'autodeeplab/autodeeplab_search_gid5.py'),)
    shared = ('in_channels', 'stem_channels', 'norm_cfg')
    width = 'filters'
    has_own_head = True

    def sample(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> AutoDeepLabArchitecture:
        return random_architecture(supernet['layers'], supernet['blocks'], rng, name)

    def mutate(
        self,
        supernet: Mapping[str, Any],
        network: AutoDeepLabArchitecture,
        rng: np.random.Generator,
    ) -> AutoDeepLabArchitecture:
        """Return a network that differs in one layer's scale, one branch's operation or its input.

        Each of the three is as likely as the others.
        """
        kind = rng.integers(3)
        if kind == 0:
            return _with_other_scale(network, rng)
        # The first block has two inputs to choose from, and reads both.
        index = rng.integers(1 if kind == 1 and len(network.cell) > 1 else 0, len(network.cell))
        block = network.cell[index]
        side = rng.integers(2)
        branch, other = block[side], block[1 - side]
        inputs = [i for i in range(2 + index) if i not in (branch.input, other.input)]
        if kind == 1 and inputs:
            branch = branch._replace(input=inputs[rng.integers(len(inputs))])
        else:
            operations = [name for name in OPERATIONS if name != branch.operation]
            branch = branch._replace(operation=operations[rng.integers(len(operations))])
        cell = (*network.cell[:index], (branch, other), *network.cell[index + 1 :])
        return replace(network, cell=cell)

    def encode(self, network: AutoDeepLabArchitecture) -> np.ndarray:
        """Return the encoding of a network, (features,).

        Of the path: how many layers are at each scale, its mean, its scales at the low level and at
        the end. Of the cell: how many branches have each operation, how many read each of the two
        cells before, and the longest chain of blocks.
        """
        branches = [branch for block in network.cell for branch in block]
        depth: dict[int, int] = {}
        for i, block in enumerate(network.cell):
            depth[2 + i] = 1 + max(depth.get(branch.input, 0) for branch in block)
        names = [branch.operation for branch in branches]
        inputs = [branch.input for branch in branches]
        return np.array(
            [
                *np.bincount(network.path, minlength=NUM_SCALES),
                np.mean(network.path),
                network.path[network.low_level],
                network.path[-1],
                *(names.count(operation) for operation in OPERATIONS),
                inputs.count(TWO_BEFORE),
                inputs.count(ONE_BEFORE),
                max(depth.values()),
            ],
            float,
        )


def _with_other_scale(
    network: AutoDeepLabArchitecture, rng: np.random.Generator
) -> AutoDeepLabArchitecture:
    path = network.path
    options = []
    for layer, (before, old) in enumerate(zip((0, *path), path, strict=False)):
        around = (before, *path[layer + 1 : layer + 2])
        options += [
            (*path[:layer], scale, *path[layer + 1 :])
            for scale in range(NUM_SCALES)
            if scale != old and all(abs(scale - other) <= 1 for other in around)
        ]
    return replace(network, path=options[rng.integers(len(options))])

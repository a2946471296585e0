"""The Auto-DeepLab search space: stage, config, and sampling, mutation and encoding of networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dnas_mmseg.spaces.registry import register_space
from dnas_mmseg.spaces.scales import NUM_SCALES, neighbour_paths
from dnas_mmseg.spaces.space import SearchSpace, Stage

from .architecture import ONE_BEFORE, OPERATIONS, TWO_BEFORE, AutoDeepLabArchitecture
from .decoding import random_architecture


@register_space
class AutoDeepLabSpace(SearchSpace):
    """Search of a path through strides and of one cell for all layers.

    Source: Liu et al., CVPR 2019 (arXiv 1901.02985), sections 3 and 4.
    """

    architecture = AutoDeepLabArchitecture
    network = 'AutoDeepLab'
    config = 'autodeeplab/autodeeplab_s_adamw-ema_gid5.py'
    small_config = 'autodeeplab/autodeeplab_narrow_naip.py'
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

        The three kinds are equally likely.
        """
        kind = rng.integers(3)
        if kind == 0:
            return _with_other_scale(network, rng)
        # The first block has only two possible inputs and reads both.
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

        Features: number of layers at each scale; mean, low-level and last scale of the path; number
        of branches with each operation, and of those that read each of the two previous cells;
        longest chain of blocks.
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
    options = list(neighbour_paths(network.path))
    return replace(network, path=options[rng.integers(len(options))])

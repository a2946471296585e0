"""Numbers by which a surrogate tells Auto-DeepLab networks apart."""

from __future__ import annotations

import numpy as np

from dnas_mmseg.spaces.scales import NUM_SCALES

from .architecture import ONE_BEFORE, OPERATIONS, TWO_BEFORE, AutoDeepLabArchitecture


def encode(network: AutoDeepLabArchitecture) -> np.ndarray:
    """Return the encoding of a network, (features,).

    Of the path: how many layers are at each scale, its mean, its scales at the low level and at the
    end. Of the cell: how many branches have each operation, how many read each of the two cells
    before, and the longest chain of blocks.
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

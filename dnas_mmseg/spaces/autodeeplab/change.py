"""Single changes of an Auto-DeepLab network, by which a selection looks around its best ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dnas_mmseg.spaces.scales import NUM_SCALES

from .architecture import OPERATIONS, AutoDeepLabArchitecture


def random_change(
    network: AutoDeepLabArchitecture, rng: np.random.Generator
) -> AutoDeepLabArchitecture:
    """Return a network that differs in one layer's scale, one branch's operation or its input.

    Each of the three is as likely as the others.

    Args:
        network: Network to be changed.
        rng: Source of chance.
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

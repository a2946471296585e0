"""Numbers by which a surrogate tells DenseNAS networks apart."""

from __future__ import annotations

import numpy as np

from dnas_mmseg.spaces.scales import NUM_SCALES

from .architecture import BASIC, SKIP, DenseNASArchitecture, kernel_and_expansion


def encode(network: DenseNASArchitecture) -> np.ndarray:
    """Return the encoding of a network, (features,).

    Of every scale, and of strides below 4 together: how many blocks and layers there are, their
    mean width (its logarithm), and the mean kernel size and expansion of their layers.
    """
    rows: dict[int, list[tuple[float, float, float]]] = {}
    blocks = np.zeros(NUM_SCALES + 1)
    for _, (width, scale), block in network.steps:
        place = min(max(scale, -1), NUM_SCALES - 1) + 1
        blocks[place] += 1
        for operation in (block.head, *block.stack):
            if operation == SKIP:
                continue
            kernel, expansion = (3, 1) if operation == BASIC else kernel_and_expansion(operation)
            rows.setdefault(place, []).append((np.log(width), kernel, expansion))
    features = [*blocks]
    for place in range(NUM_SCALES + 1):
        layers = rows.get(place, [])
        features += [len(layers), *(np.mean(layers, axis=0) if layers else (0.0, 0.0, 0.0))]
    return np.array(features, float)

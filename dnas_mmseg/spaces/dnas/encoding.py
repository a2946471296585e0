"""Numbers by which a surrogate tells DNAS networks apart."""

from __future__ import annotations

import numpy as np

from dnas_mmseg.spaces.scales import NUM_SCALES

from .architecture import OPERATIONS, DNASArchitecture


def encode(network: DNASArchitecture) -> np.ndarray:
    """Return the encoding of a network of level ``'cell'``, (features,).

    Of the core path: how many layers are at each scale, and its last scale. Of the nodes: how many
    there are at each scale. Of the edges: how many there are, how many layers they span on average,
    and how many go to each scale. Of the operations: the share of edges that apply each.
    """
    edges = network.edges
    nodes_at, edges_to = np.zeros(NUM_SCALES), np.zeros(NUM_SCALES)
    operations = np.zeros(len(OPERATIONS))
    for node, inputs, names in network.nodes:
        nodes_at[node.scale] += 1
        edges_to[node.scale] += len(inputs)
        operations[[OPERATIONS.index(name) for name in names]] += len(inputs)
    outputs = np.zeros(NUM_SCALES)
    outputs[[node.scale for node in network.outputs]] = 1
    return np.array(
        [
            *np.bincount(network.path, minlength=NUM_SCALES),
            *network.path[-1:],
            *nodes_at,
            *outputs,
            len(edges),
            np.mean([target.layer - source.layer for source, target in edges]),
            *edges_to,
            *operations / len(edges),
        ],
        float,
    )

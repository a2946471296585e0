"""Single changes of a DNAS network, by which a selection looks around its best ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dnas_mmseg.spaces.scales import NUM_SCALES

from .architecture import OPERATIONS, DNASArchitecture
from .decoding import (
    OPERATIONS_PER_NODE,
    Edge,
    connection_lattice,
    core_edges,
    decode_connections,
)


def random_change(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    """Return a network that differs in one operation, one edge or one scale of the core path.

    Each of the three is as likely as the others. Nodes that the change brings in draw their
    operations; those that nothing reads any more are gone.

    Args:
        network: Network of level ``'cell'`` with a core path.
        rng: Source of chance.
    """
    kind = rng.integers(3)
    if kind == 0:
        return _with_other_operation(network, rng)
    if kind == 1:
        return _with_other_edge(network, rng)
    return _with_other_scale(network, rng)


def _with_other_operation(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    index = rng.integers(len(network.nodes))
    spec = network.nodes[index]
    left_out = spec.operations[rng.integers(len(spec.operations))]
    others = [name for name in OPERATIONS if name not in spec.operations]
    chosen = {*spec.operations, others[rng.integers(len(others))]} - {left_out}
    changed = spec._replace(operations=tuple(name for name in OPERATIONS if name in chosen))
    return replace(network, nodes=(*network.nodes[:index], changed, *network.nodes[index + 1 :]))


def _with_other_edge(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    """Take away an edge that is not of the core path, or add one between nodes that are there."""
    core, kept = core_edges(network.path), set(network.edges)
    there = {node for edge in kept for node in edge}
    open_ = [
        edge
        for edge in connection_lattice(network.at_level('path')).edges
        if edge not in core and there.issuperset(edge)
    ]
    kept ^= {open_[rng.integers(len(open_))]}
    return _rebuilt(network, network.path, kept, rng)


def _with_other_scale(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    path = network.path
    options = []
    for layer in range(1, len(path)):
        around = (path[layer - 1], *path[layer + 1 : layer + 2])
        options += [
            (*path[:layer], scale, *path[layer + 1 :])
            for scale in range(NUM_SCALES)
            if scale != path[layer] and all(abs(scale - other) <= 1 for other in around)
        ]
    return _rebuilt(network, options[rng.integers(len(options))], network.edges, rng)


def _rebuilt(
    network: DNASArchitecture, path: Sequence[int], edges: Iterable[Edge], rng: np.random.Generator
) -> DNASArchitecture:
    """Return the network of a core path and those of some edges that its lattice has."""
    lattice = connection_lattice(replace(network, level='path', path=tuple(path), nodes=()))
    wanted = set(edges)
    connected = decode_connections(lattice, (edge in wanted for edge in lattice.edges))
    known = {spec.node: spec.operations for spec in network.nodes}
    nodes = []
    for spec in connected.nodes:
        drawn = rng.permutation(len(OPERATIONS))[:OPERATIONS_PER_NODE]
        drawn_names = tuple(OPERATIONS[i] for i in sorted(drawn))
        nodes.append(spec._replace(operations=known.get(spec.node, drawn_names)))
    return replace(connected, level='cell', nodes=tuple(nodes))

"""The DNAS search space: its stages and configs, and operators on its networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dnas_mmseg.spaces.registry import register_space
from dnas_mmseg.spaces.scales import NUM_SCALES
from dnas_mmseg.spaces.space import MultiTargetMode, SearchSpace, Stage

from .architecture import OPERATIONS, DNASArchitecture
from .decoding import (
    OPERATIONS_PER_NODE,
    Edge,
    connection_lattice,
    core_edges,
    decode_connections,
    random_architecture,
)


@register_space
class DNASSpace(SearchSpace):
    """Decoupled search: path, connections and cells in three stages (DNAS paper, section 3)."""

    architecture = DNASArchitecture
    network = 'DNAS'
    config = 'dnas/dnas_l14_adamw-ema_gid5.py'
    stages = (
        Stage('path', 'dnas/dnas_l14_path-search_gid5.py', MultiTargetMode.SHARED),
        Stage('connection', 'dnas/dnas_l14_connection-search_gid5.py', MultiTargetMode.JOINED),
        Stage('cell', 'dnas/dnas_l14_cell-search_gid5.py', MultiTargetMode.WITHIN),
    )
    shared = ('in_channels', 'base_channels', 'norm_cfg')
    width = 'base_channels'
    paper_overrides = {'prune': False}  # noqa: RUF012  read only

    def sample(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> DNASArchitecture:
        return random_architecture(supernet['layers'], rng, name)

    def mutate(
        self, supernet: Mapping[str, Any], network: DNASArchitecture, rng: np.random.Generator
    ) -> DNASArchitecture:
        """Return a network that differs in one operation, one edge or one scale of the core path.

        Each of the three is as likely as the others. Nodes that the change brings in draw their
        operations; those that nothing reads any more are gone.
        """
        kind = rng.integers(3)
        if kind == 0:
            return _with_other_operation(network, rng)
        if kind == 1:
            return _with_other_edge(network, rng)
        return _with_other_scale(network, rng)

    def encode(self, network: DNASArchitecture) -> np.ndarray:
        """Return the encoding of a network of level ``'cell'``, (features,).

        Of the core path: how many layers are at each scale, and its last scale. Of the nodes: how
        many there are at each scale. Of the edges: how many there are, how many layers they span on
        average, and how many go to each scale. Of the operations: the share of edges that apply
        each.
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

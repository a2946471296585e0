"""The DNAS search space: stages, configs, and sampling, mutation and encoding of networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dnas_mmseg.spaces.registry import register_space
from dnas_mmseg.spaces.scales import NUM_SCALES, neighbour_paths
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
    """Decoupled search of path, connections and cells in three stages.

    Source: Wang et al. 2022, Remote Sensing 14(16), 3864, section 3.
    """

    architecture = DNASArchitecture
    network = 'DNAS'
    config = 'dnas/dnas_l14_adamw-ema_gid5.py'
    small_config = 'dnas/dnas_l12_w16.py'
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

        The three kinds are equally likely. Added nodes get random operations; nodes without readers
        are removed.
        """
        kind = rng.integers(3)
        if kind == 0:
            return _with_other_operation(network, rng)
        if kind == 1:
            return _with_other_edge(network, rng)
        return _with_other_scale(network, rng)

    def encode(self, network: DNASArchitecture) -> np.ndarray:
        """Return the encoding of a network of level ``'cell'``, (features,).

        Features: number of layers of the core path at each scale, and its last scale; number of
        nodes at each scale; scales of the outputs; number of edges, mean number of layers that they
        span, and number of edges to each scale; share of edges with each operation.
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
    removed = spec.operations[rng.integers(len(spec.operations))]
    others = [name for name in OPERATIONS if name not in spec.operations]
    selected = {*spec.operations, others[rng.integers(len(others))]} - {removed}
    changed = spec._replace(operations=tuple(name for name in OPERATIONS if name in selected))
    return replace(network, nodes=(*network.nodes[:index], changed, *network.nodes[index + 1 :]))


def _with_other_edge(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    """Remove an edge that is not on the core path, or add one between existing nodes."""
    core, edges = core_edges(network.path), set(network.edges)
    present = {node for edge in edges for node in edge}
    options = [
        edge
        for edge in connection_lattice(network.at_level('path')).edges
        if edge not in core and present.issuperset(edge)
    ]
    edges ^= {options[rng.integers(len(options))]}
    return _rebuilt(network, network.path, edges, rng)


def _with_other_scale(network: DNASArchitecture, rng: np.random.Generator) -> DNASArchitecture:
    options = list(neighbour_paths(network.path, first=1))
    return _rebuilt(network, options[rng.integers(len(options))], network.edges, rng)


def _rebuilt(
    network: DNASArchitecture, path: Sequence[int], edges: Iterable[Edge], rng: np.random.Generator
) -> DNASArchitecture:
    """Return the network of a core path and of those edges that its lattice contains."""
    lattice = connection_lattice(replace(network, level='path', path=tuple(path), nodes=()))
    wanted = set(edges)
    connected = decode_connections(lattice, (edge in wanted for edge in lattice.edges))
    known = {spec.node: spec.operations for spec in network.nodes}
    nodes = []
    for spec in connected.nodes:
        indices = rng.permutation(len(OPERATIONS))[:OPERATIONS_PER_NODE]
        sampled = tuple(OPERATIONS[i] for i in sorted(indices))
        nodes.append(spec._replace(operations=known.get(spec.node, sampled)))
    return replace(connected, level='cell', nodes=tuple(nodes))

"""Lattices of the three DNAS stages, and decoding of their weights (paper, section 3).

The lattice of a stage is a :class:`DNASArchitecture` that contains all options of the stage.
Weights of edges are in the order of its ``edges``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node
from dnas_mmseg.spaces.trellis import Trellis

from .architecture import OPERATIONS, DNASArchitecture, NodeSpec

MIN_LAYERS = NUM_SCALES
"""Minimum number of layers; with fewer, the coarsest scale is not reachable."""

OPERATIONS_PER_NODE = 3
"""Number of operations of a decoded node, whose outputs are summed."""

Edge = tuple[Node, Node]


@cache
def path_lattice(layers: int) -> DNASArchitecture:
    """Return the lattice of stage 1, where a node feeds scales s-1, s, s+1 of the next layer.

    Scale s first exists at layer s; layer 0 reads the stem.
    """
    if layers < MIN_LAYERS:
        raise ArchitectureError(
            f'layers = {layers}: at least {MIN_LAYERS} are required to reach all scales'
        )
    specs = [NodeSpec(Node(0, 0), (STEM,))]
    for layer in range(1, layers):
        before = {spec.node for spec in specs if spec.node.layer == layer - 1}
        for scale in range(min(layer + 1, NUM_SCALES)):
            node = Node(layer, scale)
            specs.append(NodeSpec(node, _neighbours(node, before)))
    return DNASArchitecture(
        name=f'paths_l{layers}', level='connection', layers=layers, nodes=tuple(specs)
    )


def connection_lattice(architecture: DNASArchitecture) -> DNASArchitecture:
    """Return the lattice of stage 2 around a core path: nodes (l, s) with s <= path[l].

    The core node of a layer reads the stem and all nodes of all earlier layers. Other nodes read
    the nodes of the previous layer at scales s-1, s, s+1.

    Args:
        architecture: Core path, an architecture of level ``'path'``.
    """
    specs: list[NodeSpec] = []
    for layer, core in enumerate(architecture.path):
        earlier = [spec.node for spec in specs]
        before = {node for node in earlier if node.layer == layer - 1} or {STEM}
        for scale in range(core):
            node = Node(layer, scale)
            specs.append(NodeSpec(node, _neighbours(node, before)))
        specs.append(NodeSpec(Node(layer, core), (STEM, *earlier)))
    return replace(architecture, level='connection', nodes=tuple(specs))


def core_edges(path: Sequence[int]) -> frozenset[Edge]:
    """Return the edges of a core path, starting at the stem."""
    nodes = [STEM, *(Node(layer, scale) for layer, scale in enumerate(path))]
    return frozenset(itertools.pairwise(nodes))


def path_trellis(lattice: DNASArchitecture) -> Trellis[Node]:
    """Return the trellis of the paths of :func:`path_lattice`, from the stem to the last layer."""
    return Trellis(lattice.edges, STEM, lattice.outputs)


def decode_path(lattice: DNASArchitecture, scores: Iterable[float]) -> DNASArchitecture:
    """Return the core path with the largest sum of scores; ties go to the finer scale.

    Args:
        lattice: Lattice of :func:`path_lattice`.
        scores: Logarithms of the edges' weights in the forward pass, (edges,).

    Returns:
        Architecture of level ``'path'``.
    """
    nodes = path_trellis(lattice).best_path(scores)
    return DNASArchitecture(
        name=f'dnas_l{lattice.layers}',
        level='path',
        layers=lattice.layers,
        path=tuple(n.scale for n in nodes[1:]),
    )


def decode_connections(lattice: DNASArchitecture, keep: Iterable[bool]) -> DNASArchitecture:
    """Return the core path and the selected edges, without dead nodes and edges.

    Args:
        lattice: Lattice of :func:`connection_lattice`.
        keep: Selection flags of the edges, (edges,); edges of the core path are always selected.

    Returns:
        Architecture of level ``'connection'``, pruned.
    """
    edges = {edge for edge, flag in zip(lattice.edges, keep, strict=True) if flag}
    edges |= core_edges(lattice.path)
    specs, fed = [], {STEM}
    for node, inputs, _ in lattice.nodes:
        inputs = tuple(source for source in inputs if (source, node) in edges and source in fed)
        if inputs:
            specs.append(NodeSpec(node, inputs))
            fed.add(node)
    return replace(lattice, nodes=tuple(specs)).pruned()


def decode_cells(architecture: DNASArchitecture, scores: np.ndarray) -> DNASArchitecture:
    """Return the network in which each node has its three operations with the largest scores.

    Args:
        architecture: Nodes and edges, an architecture of level ``'connection'``.
        scores: Scores of the operations, (nodes, operations), rows in the order of
            ``architecture.nodes``.

    Returns:
        Architecture of level ``'cell'``, pruned.
    """
    selected = top_operations(scores)
    nodes = tuple(
        spec._replace(operations=tuple(np.array(OPERATIONS)[row].tolist()) if spec.inputs else ())
        for spec, row in zip(architecture.nodes, selected, strict=True)
    )
    return replace(architecture, level='cell', nodes=nodes).pruned()


def top_operations(scores: np.ndarray) -> np.ndarray:
    """Return a mask of the operations with the largest scores; ties go to earlier ones.

    Args:
        scores: Scores of the operations, (..., operations).

    Returns:
        Boolean mask of the same shape, with three True per row.
    """
    order = np.argsort(-np.asarray(scores), axis=-1, kind='stable')
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[..., :OPERATIONS_PER_NODE], True, axis=-1)
    return mask


def random_architecture(layers: int, rng: np.random.Generator, name: str) -> DNASArchitecture:
    """Sample a random network, the baseline of a search.

    The core path is uniform over all paths, every other edge exists with probability 1/2, and each
    node has three uniformly sampled operations.

    Returns:
        Architecture of level ``'cell'``.
    """
    trellis = path_lattice(layers)
    # Sampling backwards in proportion to the number of incoming paths makes paths uniform.
    arriving = {STEM: 1.0}
    for node, inputs, _ in trellis.nodes:
        arriving[node] = sum(arriving[source] for source in inputs)
    inputs_of = {node: inputs for node, inputs, _ in trellis.nodes}
    path, candidates = [], trellis.outputs
    while candidates != (STEM,):
        weights = np.array([arriving[node] for node in candidates])
        path.append(candidates[rng.choice(len(candidates), p=weights / weights.sum())])
        candidates = inputs_of[path[-1]]
    core = DNASArchitecture(
        name=name, level='path', layers=layers, path=tuple(n.scale for n in path[::-1])
    )
    lattice = connection_lattice(core)
    connected = decode_connections(lattice, rng.random(len(lattice.edges)) < 0.5)
    return decode_cells(connected, rng.random((len(connected.nodes), len(OPERATIONS))))


def _neighbours(node: Node, before: set[Node]) -> tuple[Node, ...]:
    """Return the nodes of the previous layer that are at most one scale away, finest first."""
    return tuple(sorted(source for source in before if abs(source.scale - node.scale) <= 1))

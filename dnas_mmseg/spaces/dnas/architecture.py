"""Architectures of the DNAS space: networks on a lattice of layers and scales.

Source: Wang et al. 2022, Remote Sensing 14(16), 3864 (below: the paper), section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from dnas_mmseg.spaces.architecture import LEVELS, Architecture, Edge, Point
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node

if TYPE_CHECKING:
    from typing_extensions import Self


class OperationSpec(NamedTuple):
    """Kind and settings of an operation (paper, table 1).

    Attributes:
        kind: Key of a builder in :mod:`dnas_mmseg.spaces.dnas.operations`.
        kernel_size: Kernel size of its convolution.
        dilation: Dilation of its convolution.
    """

    kind: Literal['conv', 'separable_conv', 'avg_pool', 'max_pool', 'global_average_pool']
    kernel_size: int = 1
    dilation: int = 1


OPERATION_SPECS = {
    'conv1x1': OperationSpec('conv', 1),
    'conv3x3': OperationSpec('conv', 3),
    'conv3x3_dil3': OperationSpec('conv', 3, dilation=3),
    'conv3x3_dil12': OperationSpec('conv', 3, dilation=12),
    'sep_conv_3x3': OperationSpec('separable_conv', 3),
    'sep_conv_5x5': OperationSpec('separable_conv', 5),
    'sep_conv_7x7': OperationSpec('separable_conv', 7),
    'avg_pool_3x3': OperationSpec('avg_pool'),
    'max_pool_3x3': OperationSpec('max_pool'),
    'global_average_pool': OperationSpec('global_average_pool'),
}
"""All operations of a cell, by their names in architecture files. Their order is that of the last
axis of the architecture parameters, so new ones go to the end."""

OPERATIONS = tuple(OPERATION_SPECS)
"""Names of the operations, in order."""


class NodeSpec(NamedTuple):
    """A node and its inputs, each of which passes through a separate cell.

    All cells of a node have the same ``operations``, with separate weights.
    """

    node: Node
    inputs: tuple[Node, ...] = ()
    operations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DNASArchitecture(Architecture):
    """Describe a network of the DNAS space.

    Attributes:
        layers: Number of layers.
        path: Core path, one scale per layer; required at level ``'path'``, optional later.
        nodes: Nodes in order of execution; empty at level ``'path'``.
    """

    space: ClassVar[str] = 'dnas'

    layers: int
    path: tuple[int, ...] = ()
    nodes: tuple[NodeSpec, ...] = ()

    @cached_property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        """Edges (source, target) in order of execution."""
        return tuple((source, spec.node) for spec in self.nodes for source in spec.inputs)

    @property
    def graph(self) -> tuple[Edge, ...]:
        if self.level == 'path':
            return tuple(itertools.pairwise([STEM, *map(Node, range(self.layers), self.path)]))
        return self.edges

    @property
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        return {spec.node: spec.operations for spec in self.nodes}

    @property
    def scalars(self) -> dict[str, float]:
        return {f'path_{layer:02d}': scale for layer, scale in enumerate(self.path)}

    @property
    def summary(self) -> dict[str, str]:
        counts = {'nodes': len(self.nodes), 'edges': len(self.edges)}
        path = {'path': '-'.join(map(str, self.path))} if self.path else {}
        return {**path, **{key: str(count) for key, count in counts.items() if count}}

    @property
    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        return ('node', 'inputs', 'operations'), [
            (str(node), ', '.join(map(str, inputs)), ', '.join(operations))
            for node, inputs, operations in self.nodes
        ]

    @cached_property
    def fed(self) -> frozenset[Node]:
        """Nodes that are reachable from the stem, including the stem."""
        return _closure([STEM], self.edges)

    @property
    def used(self) -> frozenset[Node]:
        """Nodes from which the last layer is reachable, including its nodes."""
        last = [spec.node for spec in self.nodes if spec.node.layer == self.layers - 1]
        return _closure(last, [(target, source) for source, target in self.edges])

    @property
    def outputs(self) -> tuple[Node, ...]:
        """Nodes of the last layer that are reachable from the stem, finest first."""
        fed = self.fed
        return tuple(
            sorted(
                spec.node
                for spec in self.nodes
                if spec.node.layer == self.layers - 1 and spec.node in fed
            )
        )

    def pruned(self) -> DNASArchitecture:
        """Return the network without nodes and edges on no path from the stem to the last layer."""
        fed, live = self.fed, self.fed & self.used
        nodes = tuple(
            spec._replace(inputs=tuple(s for s in spec.inputs if s in fed))
            for spec in self.nodes
            if spec.node in live
        )
        return self if nodes == self.nodes else replace(self, nodes=nodes)

    def union(self, other: Self) -> Self:
        """Return the union of two networks of level ``'connection'`` with one core path."""
        inputs = {spec.node: set(spec.inputs) for spec in self.nodes}
        for spec in other.nodes:
            inputs.setdefault(spec.node, set()).update(spec.inputs)
        nodes = tuple(NodeSpec(node, tuple(sorted(inputs[node]))) for node in sorted(inputs))
        return replace(self, nodes=nodes)

    def at_level(self, level: str) -> DNASArchitecture:
        if level not in LEVELS or LEVELS.index(level) > LEVELS.index(self.level):
            self._fail(f"is of level '{self.level}', which does not decide level '{level}'")
        if level == 'path' and not self.path:
            self._fail('contains no core path')
        nodes = {
            'path': (),
            'connection': tuple(spec._replace(operations=()) for spec in self.nodes),
            'cell': self.nodes,
        }
        return replace(self, level=level, nodes=nodes[level])

    @classmethod
    def _parse(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        return {
            'layers': int(document['layers']),
            'path': tuple(int(scale) for scale in document.get('path', ())),
            'nodes': tuple(
                NodeSpec(
                    _node(row['node']),
                    tuple(_node(source) for source in row['inputs']),
                    tuple(row.get('operations', ())),
                )
                for row in document.get('nodes', ())
            ),
        }

    def _body(self) -> dict[str, Any]:
        return {
            'layers': self.layers,
            'path': list(self.path),
            'nodes': [
                {'node': list(node), 'inputs': [list(s) for s in inputs], 'operations': list(ops)}
                for node, inputs, ops in self.nodes
            ],
        }

    def _validate(self) -> None:
        self._validate_path()
        if self.level == 'path':
            if self.nodes:
                self._fail("nodes are listed, but level 'path' does not decide nodes")
            return
        in_order = tuple(sorted(self.nodes, key=lambda spec: spec.node))
        object.__setattr__(self, 'nodes', in_order)
        self._validate_nodes()
        self._validate_order()
        self._validate_flow()
        self._validate_operations()

    def _validate_path(self) -> None:
        if self.layers < 1:
            self._fail(f'layers = {self.layers}: at least 1 is required')
        if not self.path and self.level != 'path':
            return
        if len(self.path) != self.layers:
            self._fail(f'path has {len(self.path)} entries for {self.layers} layers')
        previous = 0
        for layer, scale in enumerate(self.path):
            if not 0 <= scale < NUM_SCALES:
                self._fail(f'path: scale {scale} of layer {layer} is not in 0..{NUM_SCALES - 1}')
            if layer == 0 and scale != 0:
                self._fail(f'path begins at scale {scale}; layer 0 has scale 0 only')
            if abs(scale - previous) > 1:
                self._fail(f'path jumps from scale {previous} to {scale} at layer {layer}')
            previous = scale

    def _validate_nodes(self) -> None:
        if not self.nodes:
            self._fail('no nodes are listed')
        known = {STEM}
        for node, inputs, _ in self.nodes:
            if not (0 <= node.layer < self.layers and 0 <= node.scale < NUM_SCALES):
                self._fail(
                    f'node {node} lies outside the lattice of {self.layers} layers '
                    f'and {NUM_SCALES} scales'
                )
            if node in known:
                self._fail(f'node {node} is listed twice')
            if len(set(inputs)) != len(inputs):
                self._fail(f'node {node} lists an input twice')
            known.add(node)
        for source, target in self.edges:
            if source not in known:
                self._fail(f'edge {source} -> {target} starts at a node that is not listed')
        edges = set(self.edges)
        for layer, (a, b) in enumerate(zip((0, *self.path), self.path, strict=False)):
            source = Node(layer - 1, a) if layer else STEM
            if (source, Node(layer, b)) not in edges:
                self._fail(f'edge {source} -> {Node(layer, b)} of the core path is not listed')

    def _validate_order(self) -> None:
        """Check the order of layers; report a cycle rather than one of its edges."""
        for source, target in self.edges:
            if source.layer >= target.layer:
                try:
                    TopologicalSorter({node: inputs for node, inputs, _ in self.nodes}).prepare()
                except CycleError as error:
                    self._fail('cycle ' + ' -> '.join(str(Node(*node)) for node in error.args[1]))
                self._fail(f'edge {source} -> {target} goes backwards or sideways in the layers')

    def _validate_flow(self) -> None:
        if not self.outputs:
            self._fail(
                f'no path leads from the stem to a node of the last layer ({self.layers - 1})'
            )
        unreachable = [spec.node for spec in self.nodes if spec.node not in self.fed]
        if not unreachable:
            return
        both_ways = [*self.edges, *((target, source) for source, target in self.edges)]
        connected = _closure([STEM], both_ways)
        separate = [str(node) for node in unreachable if node not in connected]
        if separate:
            self._fail(
                'more than one network: nothing connects '
                + ', '.join(separate)
                + ' with the stem; '
                'a file contains one network'
            )

    def _validate_operations(self) -> None:
        for node, inputs, operations in self.nodes:
            for operation in operations:
                if operation not in OPERATIONS:
                    self._fail(
                        f"operation '{operation}' of node {node} is unknown; "
                        f'available: {", ".join(OPERATIONS)}'
                    )
            if len(set(operations)) != len(operations):
                self._fail(f'node {node} lists an operation twice')
            if self.level == 'cell' and inputs and not operations:
                self._fail(f"node {node} has inputs but no operations; level 'cell' decides them")
            if self.level == 'connection' and operations:
                self._fail(f"node {node} has operations, which level 'connection' has not decided")


def _node(pair: Any) -> Node:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f'a node is [layer, scale], not {pair!r}')
    return Node(int(pair[0]), int(pair[1]))


def _closure(start: Iterable[Node], edges: Iterable[tuple[Node, Node]]) -> frozenset[Node]:
    """Return all nodes that are reachable from ``start`` along ``edges``."""
    following: dict[Node, list[Node]] = {}
    for source, target in edges:
        following.setdefault(source, []).append(target)
    reached, frontier = set(start), list(start)
    while frontier:
        for node in following.get(frontier.pop(), ()):
            if node not in reached:
                reached.add(node)
                frontier.append(node)
    return frozenset(reached)

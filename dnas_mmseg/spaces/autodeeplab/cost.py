"""Costs of networks of the Auto-DeepLab space, and the cost model of its supernet.

The parts of a table are ``stem``; ``enter/<a>/<b>/<scale>/<stride>``, the entry of a cell for the
two previous outputs, at scales ``a`` and ``b`` (``half`` and ``stem`` are the stem's outputs);
``branch/<scale>/<stride>/<operation>``, with stride 1 for branches that read a block; and
``head/<low>/<last>``, the head on the outputs of the third and the last layer at these scales.

The cost of a layer depends on the two previous layers, that of the head on the third and the last
layer. The states of :func:`state_trellis` contain these scales, so that means and best paths over
states are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.parts import (
    AddedTo,
    Backbone,
    Part,
    Parts,
    head_on,
    norm_on_one_device,
    space_parts,
)
from dnas_mmseg.cost.table import CostTable, inclusion_probabilities
from dnas_mmseg.spaces.cost import Preferences, TrellisCosts
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node, size_at

from .architecture import ONE_BEFORE, OPERATIONS, TWO_BEFORE, AutoDeepLabArchitecture
from .decoding import Penalty, decode, neighbours, score
from .graph import START, PathState, next_state, state_trellis, stride_to
from .network import AutoDeepLabStem, CellEntry, build_operation


def network_cost(architecture: AutoDeepLabArchitecture, table: CostTable) -> float:
    """Return the cost of a network."""
    total, state = table['stem'], START
    for scale in architecture.path:
        node = Node(state.node.layer + 1, scale)
        fixed, (outer, inner) = layer_cost(state, node, architecture.layers, table)
        total += fixed + sum(
            (outer if source in (TWO_BEFORE, ONE_BEFORE) else inner)[OPERATIONS.index(operation)]
            for block in architecture.cell
            for source, operation in block
        )
        state = next_state(state, node)
    return float(total)


def expected_cost(
    layers: int, blocks: int, edge_weights: Tensor, cell_weights: Tensor, table: CostTable
) -> Tensor:
    """Return the mean cost over the distribution of the weights, differentiable.

    The probability of a path is the product of its edge weights. Independently of the path, each
    block samples two inputs without replacement, by the weights of their best operations (as in
    decoding), and an operation for each by its weight among those other than ``'zero'``.

    Args:
        layers: Number of layers.
        blocks: Number of blocks of the cell.
        edge_weights: Weights of the edges of :func:`trellis`, (edges,), which sum to 1 over the
            outgoing edges of each node.
        cell_weights: Weights of the options of branches, (pairs, options); each row sums to 1.
        table: Costs of the parts.
    """
    numbers = _mean_branch_numbers(blocks, cell_weights)
    states = state_trellis(layers)
    cells: dict[tuple, Tensor] = {}
    costs = []
    for before, after in states.edges:
        fixed, branches = layer_cost(before, after.node, layers, table)
        kind = (after.node.scale, stride_to(before, after.node))
        if kind not in cells:
            cells[kind] = (numbers * edge_weights.new_tensor(branches)).sum()
        costs.append(fixed + cells[kind])
    weights = edge_weights[list(states.origins)]
    return table['stem'] + states.mean_over_paths(weights, costs)


def _mean_branch_numbers(blocks: int, cell_weights: Tensor) -> Tensor:
    """Return mean numbers of branches that read cells or blocks, by operation, (2, operations)."""
    useful = cell_weights[:, : len(OPERATIONS)]
    totals, row = [], 0
    for block in range(blocks):
        options = useful[row : row + block + 2]
        best = options.amax(1)
        included = inclusion_probabilities(best / best.sum(), 2)
        share = included[:, None] * options / options.sum(1, keepdim=True)
        totals.append(torch.stack((share[:2].sum(0), share[2:].sum(0))))
        row += block + 2
    return torch.stack(totals).sum(0)


def enter_part(two_before: int | str, one_before: int | str, scale: int, stride: int) -> str:
    """Return the part name of the entry of a cell."""
    return f'enter/{two_before}/{one_before}/{scale}/{stride}'


def branch_part(scale: int, stride: int, operation: str) -> str:
    """Return the part name of a branch."""
    return f'branch/{scale}/{stride}/{operation}'


def head_part(low: int, last: int) -> str:
    """Return the part name of the head."""
    return f'head/{low}/{last}'


def entries() -> tuple[tuple[int | str, int | str, int, int], ...]:
    """Return (two before, one before, scale, stride) of all possible entries of a cell."""
    edges = state_trellis(NUM_SCALES + 2).edges
    return tuple(
        dict.fromkeys((*_sources(a), b.node.scale, stride_to(a, b.node)) for a, b in edges)
    )


def _sources(state: PathState) -> tuple[int | str, int | str]:
    """Return the two outputs that the next cell after a state reads, as named in tables."""
    if state.node == STEM:
        return 'half', 'stem'
    return ('stem' if state.node.layer == 0 else state.before), state.node.scale


def layer_cost(
    state: PathState, node: Node, layers: int, table: CostTable
) -> tuple[float, np.ndarray]:
    """Return the cost of a layer of a path.

    Args:
        state: State of the path before the layer.
        node: Node of the layer.
        layers: Number of layers of the network.
        table: Costs of the parts.

    Returns:
        Cost without branches, including the head for the last layer; and costs of the operations
        of branches that read cells and blocks, (2, operations).
    """
    stride = stride_to(state, node)
    fixed = table[enter_part(*_sources(state), node.scale, stride)]
    if node.layer == layers - 1:
        fixed += table[head_part(next_state(state, node).low, node.scale)]
    branches = [[table[branch_part(node.scale, s, o)] for o in OPERATIONS] for s in (stride, 1)]
    return fixed, np.array(branches)


def penalty(layers: int, table: CostTable, price: float) -> Penalty:
    """Return the penalties of layers for decoding at a price."""

    def of_layer(state: PathState, node: Node) -> tuple[float, np.ndarray]:
        fixed, branches = layer_cost(state, node, layers, table)
        return price * fixed, price * branches

    return of_layer


class AutoDeepLabCosts(TrellisCosts[AutoDeepLabArchitecture]):
    """Cost model of the supernet.

    Args:
        layers, blocks: Numbers of layers and of blocks of the cell.
        preferences: Supernet.
        table: Costs of the parts.
    """

    def __init__(
        self, layers: int, blocks: int, preferences: Preferences, table: CostTable
    ) -> None:
        super().__init__(preferences, table)
        self._layers, self._blocks = layers, blocks

    def cost(self, architecture: AutoDeepLabArchitecture) -> float:
        return network_cost(architecture, self.table)

    def expected(self) -> Tensor:
        """Return the mean cost, see :func:`expected_cost`."""
        edges, cells = self.preferences.weights()
        return expected_cost(self._layers, self._blocks, edges, cells, self.table)

    def decode(self, price: float = 0.0) -> AutoDeepLabArchitecture:
        edges, cells = self.preferences.scores()
        priced = penalty(self._layers, self.table, price)
        return decode(self._layers, self._blocks, edges, cells, priced)

    def neighbours(self, network: AutoDeepLabArchitecture) -> Iterator[AutoDeepLabArchitecture]:
        return neighbours(network)

    def score(self, network: AutoDeepLabArchitecture) -> float:
        return score(network, *self.preferences.scores())


def autodeeplab_parts(
    supernet: Backbone,
    network: Mapping[str, Any],
    blocks: int,
    model: Mapping[str, Any],
    size: tuple[int, int],
) -> Parts:
    """Return the parts of the supernet's networks.

    Args:
        supernet: Supernet, for its bands and normalisation.
        network: Arguments of the searched network, for its ``filters`` and ``stem_channels``.
        blocks: Number of blocks of the cell.
        model: Config of the segmentor of the searched network, for its head.
        size: Height and width of the images.
    """
    filters, stem = network['filters'], list(network['stem_channels'])
    modules = _modules(supernet, filters, stem, blocks, model, size)
    facts = dict(filters=filters, blocks=blocks, stem_channels=stem)
    return space_parts('autodeeplab', supernet, model, size, modules, **facts)


def _modules(
    supernet: Backbone,
    filters: int,
    stem: list[int],
    blocks: int,
    model: Mapping[str, Any],
    size: tuple[int, int],
) -> Iterator[Part]:
    norm = norm_on_one_device(supernet.norm_cfg)
    widths = [filters * 2**scale for scale in range(NUM_SCALES)]
    sizes = [size_at(size, 4 * 2**scale) for scale in range(NUM_SCALES)]
    outputs: dict[int | str, tuple[int, ...]] = {
        scale: (1, blocks * widths[scale], *sizes[scale]) for scale in range(NUM_SCALES)
    }
    outputs['half'] = (1, stem[1], *size_at(size, 2))
    outputs['stem'] = (1, stem[2], *sizes[0])
    image = (1, supernet.in_channels, *size)
    yield Part('stem', AutoDeepLabStem(supernet.in_channels, stem, norm), (image,))
    for two, one, scale, stride in entries():
        inputs = (outputs[two], outputs[one])
        entry = CellEntry([shape[1] for shape in inputs], widths[scale], norm)
        entry_at_size = _EntryToSize(entry, sizes[scale - stride + 1])
        yield Part(enter_part(two, one, scale, stride), entry_at_size, inputs)
    for scale, width in enumerate(widths):
        for stride in (1, 2) if scale else (1,):
            read = (1, width, *sizes[scale - stride + 1])
            for name in OPERATIONS:
                branch = AddedTo(build_operation(name, width, stride, norm))
                shapes = (read, (1, width, *sizes[scale]))
                yield Part(branch_part(scale, stride, name), branch, shapes)
    for low in range(NUM_SCALES):
        for last in range(NUM_SCALES):
            inputs = (outputs[low], outputs[last])
            head = head_on(model, [shape[1] for shape in inputs])
            yield Part(head_part(low, last), head, inputs)


class _EntryToSize(nn.Module):
    """The entry of a cell with a fixed output size."""

    def __init__(self, entry: CellEntry, size: tuple[int, int]) -> None:
        super().__init__()
        self.entry, self.size = entry, size

    def forward(self, two_before: Tensor, one_before: Tensor) -> list[Tensor]:
        return self.entry(two_before, one_before, self.size)

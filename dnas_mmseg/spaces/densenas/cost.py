"""Costs of networks of the DenseNAS space, and the cost model of its supernet.

The parts of a table are ``stem``; ``head/<from>/<to>/<operation>``; ``layer/<block>/<operation>``;
and ``decoder/<block>,<block>,...``, the segmentor's head on the outputs of these blocks. Blocks are
identified by their index.

A decoder reads the last block of the path at each scale, so its cost depends on several blocks. The
states of :func:`state_trellis` contain these blocks, so that means and best paths over states are
exact. Without the decoder, the mean is the chained cost estimation of section 3.4 of the paper
(Fang et al., CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.parts import Backbone, Part, Parts, head_on, norm_on_one_device, space_parts
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.cost import Preferences, TrellisCosts
from dnas_mmseg.spaces.scales import size_at

from .architecture import SKIP, DenseNASArchitecture
from .decoding import Penalties, decode, neighbours, score
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, state_trellis
from .network import build_layer, build_stem


def head_part(source: int, target: int, operation: str) -> str:
    """Return the part name of a head layer."""
    return f'head/{source}/{target}/{operation}'


def layer_part(block: int, operation: str) -> str:
    """Return the part name of a layer of a stack."""
    return f'layer/{block}/{operation}'


def decoder_part(left: Collection[int]) -> str:
    """Return the part name of the segmentor's head on the outputs of blocks."""
    return 'decoder/' + ','.join(map(str, left))


def network_cost(
    space: DenseSpace,
    architecture: DenseNASArchitecture,
    scales: tuple[int, ...],
    table: CostTable,
) -> float:
    """Return the cost of a network."""
    path = space.path_of(architecture)
    total, left = table['stem'], []
    specs = architecture.blocks[len(STEM_LAYERS[space.family]) :]
    for i, (source, target, spec) in enumerate(zip(path, path[1:], specs, strict=False)):
        total += table[head_part(source, target, spec.head)]
        total += sum(table[layer_part(target, name)] for name in spec.stack if name != SKIP)
        scale = space.blocks[source].scale
        if scale in scales and space.blocks[target].scale > scale:
            left.append(source)
        if i == len(specs) - 1 and space.blocks[target].scale in scales:
            left.append(target)
    return float(total + table[decoder_part(left)])


def expected_cost(
    space: DenseSpace,
    edge_weights: Tensor,
    head_weights: Tensor,
    layer_weights: Tensor,
    scales: tuple[int, ...],
    table: CostTable,
) -> Tensor:
    """Return the mean cost over the distribution of the weights, differentiable (section 3.4).

    The probability of a path is the product of its edge weights; the operation of each layer is
    sampled by its weights.

    Args:
        space: Routing blocks and their edges.
        edge_weights: Weights of the edges, (edges,), which sum to 1 over the outgoing edges of each
            block.
        head_weights: Weights of head operations, (inner edges, operations); each row sums to 1.
        layer_weights: Weights of stack operations, (layers, operations); each row sums to 1.
        scales: Scales that the decoder reads.
        table: Costs of the parts.
    """
    head_costs, layer_costs = (
        torch.from_numpy(costs).to(edge_weights) for costs in costs_of_operations(space, table)
    )
    means = dict(zip(space.inner, (head_weights * head_costs).sum(1).unbind(), strict=True))
    stacks = edge_weights.new_zeros(len(space.blocks)).index_add(
        0,
        torch.tensor(
            [block for block, _ in space.layers], dtype=torch.long, device=edge_weights.device
        ),
        (layer_weights * layer_costs).sum(1),
    )
    states = state_trellis(space, scales)
    costs = [
        table[decoder_part(after.left)]
        if after.block == space.end
        else means[before.block, after.block] + stacks[after.block]
        for before, after in states.edges
    ]
    weights = edge_weights[list(states.origins)]
    return table['stem'] + states.mean_over_paths(weights, costs)


def costs_of_operations(space: DenseSpace, table: CostTable) -> tuple[np.ndarray, np.ndarray]:
    """Return costs of head layers, (inner edges, operations), and stacks, (layers, operations)."""
    heads, layers = FAMILIES[space.family]

    def cost(part: str) -> float:
        return 0.0 if part.endswith(SKIP) else table[part]

    return (
        np.array([[cost(head_part(*edge, name)) for name in heads] for edge in space.inner]),
        np.array(
            [[cost(layer_part(block, name)) for name in layers] for block, _ in space.layers]
        ).reshape(-1, len(layers)),
    )


def penalties(
    space: DenseSpace, scales: tuple[int, ...], table: CostTable, price: float
) -> Penalties:
    """Return the penalties of operations and decoders for decoding at a price."""
    heads, layers = costs_of_operations(space, table)
    return Penalties(
        price * heads, price * layers, scales, lambda left: price * table[decoder_part(left)]
    )


class DenseNASCosts(TrellisCosts[DenseNASArchitecture]):
    """Cost model of the supernet.

    Args:
        space: Routing blocks and their edges.
        scales: Scales that the decoder reads.
        final: Number of channels of the final convolution; 0 for none.
        preferences: Supernet.
        table: Costs of the parts.
    """

    def __init__(
        self,
        space: DenseSpace,
        scales: tuple[int, ...],
        final: int,
        preferences: Preferences,
        table: CostTable,
    ) -> None:
        super().__init__(preferences, table)
        self._space, self._scales, self._final = space, scales, final

    def cost(self, architecture: DenseNASArchitecture) -> float:
        return network_cost(self._space, architecture, self._scales, self.table)

    def expected(self) -> Tensor:
        """Return the mean cost, see :func:`expected_cost`."""
        edges, heads, layers = self.preferences.weights()
        return expected_cost(self._space, edges, heads, layers, self._scales, self.table)

    def decode(self, price: float = 0.0) -> DenseNASArchitecture:
        priced = penalties(self._space, self._scales, self.table, price)
        edges, heads, layers = self.preferences.scores()
        return decode(self._space, edges, heads, layers, self._final, priced)

    def neighbours(self, network: DenseNASArchitecture) -> Iterator[DenseNASArchitecture]:
        return neighbours(self._space, network)

    def score(self, network: DenseNASArchitecture) -> float:
        return score(self._space, network, *self.preferences.scores())


def densenas_parts(
    supernet: Backbone,
    space: DenseSpace,
    scales: tuple[int, ...],
    output_stride: int,
    model: Mapping[str, Any],
    size: tuple[int, int],
) -> Parts:
    """Return the parts of the supernet's networks.

    Args:
        supernet: Supernet, for its bands and normalisation.
        space: Routing blocks and their edges.
        scales: Scales that the decoder reads.
        output_stride: Output stride of the searched network.
        model: Config of the segmentor of the searched network, for its head.
        size: Height and width of the images.
    """
    return space_parts(
        'densenas',
        supernet,
        model,
        size,
        _modules(supernet, space, scales, output_stride, model, size),
        block=space.family,
        blocks=[list(block) for block in space.blocks],
        edges=[list(edge) for edge in space.inner],
        scales=list(scales),
        output_stride=output_stride,
    )


def _modules(
    supernet: Backbone,
    space: DenseSpace,
    scales: tuple[int, ...],
    output_stride: int,
    model: Mapping[str, Any],
    size: tuple[int, int],
) -> Iterator[Part]:
    norm = norm_on_one_device(supernet.norm_cfg)
    blocks = space.blocks

    def stride_of(block: int) -> int:
        return min(round(4 * 2 ** blocks[block].scale), output_stride)

    def shape(block: int) -> tuple[int, ...]:
        return (1, blocks[block].width, *size_at(size, stride_of(block)))

    def layer(operation: str, source: int, target: int) -> nn.Module:
        widths = blocks[source].width, blocks[target].width
        stride = stride_of(target) // stride_of(source)
        dilation = max(1, round(4 * 2 ** blocks[target].scale) // output_stride)
        return build_layer(operation, *widths, stride, dilation, norm)

    width = blocks[0].width
    stem = nn.Sequential(
        build_stem(supernet.in_channels, width, norm),
        *(layer(operation, 0, 0) for operation in STEM_LAYERS[space.family]),
    )
    yield Part('stem', stem, ((1, supernet.in_channels, *size),))
    head_names, layer_names = FAMILIES[space.family]
    for i, j in space.inner:
        for name in head_names:
            yield Part(head_part(i, j, name), layer(name, i, j), (shape(i),))
    for block in dict.fromkeys(owner for owner, _ in space.layers):
        for name in layer_names:
            if name != SKIP:
                module = layer(name, block, block)
                yield Part(layer_part(block, name), module, (shape(block),))
    for state in state_trellis(space, scales).ends:
        shapes = tuple(shape(block) for block in state.left)
        head = head_on(model, [channels for _, channels, *_ in shapes])
        yield Part(decoder_part(state.left), head, shapes)

"""What DenseNAS searches over, what its weights decode to, and what its networks cost.

Source: Fang et al., CVPR 2020, section 3.

A space is a row of routing blocks of growing widths. Each has a head layer for every block that can
lead to it and a stack of layers; a path through the blocks is a network. A table's parts are
``stem``; ``head/<from>/<to>/<operation>``; ``layer/<block>/<operation>``; and
``decoder/<block>,<block>,...``, the segmentor's head on the outputs of these blocks. Blocks are
named by their index in the row.

A decoder reads of each scale the block from which the path leaves it, so what it costs depends on
several blocks of the path: a path is taken as a walk over :class:`Step`, which remembers them, and
means and Viterbi over steps are exact. Without that memory it is the chained estimation of section
3.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.architectures import DenseNASArchitecture
from dnas_mmseg.architectures.architecture import ArchitectureError, Point
from dnas_mmseg.architectures.densenas import BASIC, SKIP, BlockSpec

from .cost import CostTable, expected_path_cost
from .viterbi import best_path

_BOTTLENECKS = tuple(f'k{kernel}t{expansion}' for kernel in (3, 5, 7) for expansion in (3, 6))

FAMILIES = {
    'mbconv': (_BOTTLENECKS, (*_BOTTLENECKS, SKIP)),
    'basic': ((BASIC,), (BASIC, SKIP)),
}
"""Of a type of blocks, the operations of head layers, and those of stacks."""

FIRST = {'mbconv': ('k3t1',), 'basic': ()}
"""What the first block, which is not searched, does behind the stem."""


class Block(NamedTuple):
    """A routing block: its channels, stage and scale (stride ``4 * 2**scale``), and stack."""

    width: int
    stage: int
    scale: int
    depth: int


@dataclass(frozen=True)
class DenseSpace:
    """The routing blocks and which can follow each other.

    Attributes:
        family: One of :data:`FAMILIES`.
        blocks: In a row; the first one is the stem's.
        edges: Indices of blocks, each block's incoming edges before its outgoing ones. Those that
            end a path, from every block of the last stage, come last and lead to ``len(blocks)``.
    """

    family: str
    blocks: tuple[Block, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        """The target of edges that end a path."""
        return len(self.blocks)

    @cached_property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """The edges between blocks, which have head layers."""
        return tuple(edge for edge in self.edges if edge[1] != self.end)

    @cached_property
    def outgoing(self) -> dict[int, list[int]]:
        """Indices of each block's outgoing edges."""
        outgoing: dict[int, list[int]] = {}
        for index, (source, _) in enumerate(self.edges):
            outgoing.setdefault(source, []).append(index)
        return outgoing

    @cached_property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(block, index from 0) of every layer of the stacks."""
        return tuple((i, layer) for i, b in enumerate(self.blocks) for layer in range(b.depth))

    def place(self, block: int) -> Point:
        """(width, scale) of a block, as architectures name it."""
        return self.blocks[block].width, self.blocks[block].scale

    def walk_of(self, architecture: DenseNASArchitecture) -> list[int]:
        """The blocks of a network, from the first on.

        Raises:
            ArchitectureError: It is not of this space.
        """
        index = {self.place(i): i for i in range(len(self.blocks))}
        places = [self.place(0), *(target for _, target in architecture.graph)]
        unknown = [place for place in places if place not in index]
        if unknown:
            raise ArchitectureError(
                f"architecture '{architecture.name}': block of width {unknown[0][0]} at stride "
                f'{4 * 2 ** unknown[0][1]:g} is not in this space'
            )
        return [index[place] for place in places]


def dense_space(
    family: str,
    widths: Sequence[Sequence[int]],
    strides: Sequence[int],
    depths: Sequence[int],
    window: int,
) -> DenseSpace:
    """Lay out a space.

    A block can lead to those within the next ``window`` blocks that are of its stage or the next
    one, at its stride or twice that.

    Args:
        family: One of :data:`FAMILIES`.
        widths: Of the blocks, by stage; the first stage is the stem's single block.
        strides: Of each stage; the first one has 2.
        depths: Layers in the stack of each stage's blocks.
        window: See above.

    Raises:
        ArchitectureError: Says which entry cannot be.
    """

    def fail(message: str) -> None:
        raise ArchitectureError(f'search space: {message}')

    if family not in FAMILIES:
        fail(f"block '{family}' is unknown; there are {', '.join(FAMILIES)}")
    if not len(widths) == len(strides) == len(depths) or len(widths) < 2:
        fail(
            f'widths, strides and depths are given for {len(widths)}, {len(strides)} and '
            f'{len(depths)} stages; at least 2 are needed, and each needs all three'
        )
    if len(widths[0]) != 1 or strides[0] != 2 or depths[0] != 0:
        fail(
            f'the first stage is the stem: widths[0] = {list(widths[0])}, strides[0] = '
            f'{strides[0]}, depths[0] = {depths[0]}; one width, stride 2 and depth 0 are needed'
        )
    for stage, (row, stride, depth) in enumerate(zip(widths, strides, depths, strict=True)):
        if not row or min(row) < 1 or list(row) != sorted(set(row)):
            fail(f'widths[{stage}] = {list(row)}: one or more growing numbers are needed')
        if stage and stride / strides[stage - 1] not in (1, 2):
            fail(
                f'strides[{stage}] = {stride} after {strides[stage - 1]}: the same or twice that '
                'is needed'
            )
        if depth < 0:
            fail(f'depths[{stage}] = {depth}: at least 0 is needed')
    if window < 1:
        fail(f'window = {window}: at least 1 is needed')
    blocks = tuple(
        Block(width, stage, int(stride).bit_length() - 3, depth)
        for stage, (row, stride, depth) in enumerate(zip(widths, strides, depths, strict=True))
        for width in row
    )
    places = [(block.width, block.scale) for block in blocks]
    for i, place in enumerate(places):
        if place in places[:i]:
            fail(
                f'widths[{blocks[i].stage}] has {place[0]}, which an earlier stage at stride '
                f'{4 * 2 ** place[1]:g} has, too; blocks are told apart by width and stride'
            )
    edges = [
        (i, j)
        for j in range(1, len(blocks))
        for i in range(max(0, j - window), j)
        if blocks[j].stage - blocks[i].stage <= 1
    ]
    ends = [(i, len(blocks)) for i, b in enumerate(blocks) if b.stage == len(widths) - 1]
    return DenseSpace(family, blocks, (*edges, *ends))


class Step(NamedTuple):
    """Where a path is, and from which blocks it has left the scales that the decoder reads."""

    block: int
    left: tuple[int, ...] = ()


@lru_cache(maxsize=16)
def walks(space: DenseSpace, scales: tuple[int, ...]) -> tuple[tuple[Step, Step], ...]:
    """The edges with steps for blocks; the last ones lead to steps at ``space.end``.

    Args:
        space: The blocks.
        scales: Which the decoder reads.
    """
    found: list[tuple[Step, Step]] = []
    at: dict[int, list[Step]] = {0: [Step(0)]}
    for block in range(len(space.blocks)):
        for step in at[block]:
            for index in space.outgoing[block]:
                target = space.edges[index][1]
                scale = space.blocks[block].scale
                leaves = target == space.end or space.blocks[target].scale > scale
                left = (*step.left, block) if leaves and scale in scales else step.left
                after = Step(target, left)
                found.append((step, after))
                if after not in at.setdefault(target, []):
                    at[target].append(after)
    return tuple(found)


def head_part(source: int, target: int, operation: str) -> str:
    """Name of a head layer."""
    return f'head/{source}/{target}/{operation}'


def layer_part(block: int, operation: str) -> str:
    """Name of a layer of a stack."""
    return f'layer/{block}/{operation}'


def decoder_part(left: Collection[int]) -> str:
    """Name of the segmentor's head."""
    return 'decoder/' + ','.join(map(str, left))


def decode(
    space: DenseSpace,
    edge_scores: Sequence[float],
    head_scores: np.ndarray,
    layer_scores: np.ndarray,
    name: str,
    final: int = 0,
    scales: tuple[int, ...] = (),
    price: float = 0.0,
    table: CostTable | None = None,
) -> DenseNASArchitecture:
    """The network of the largest score, its cost at a price taken off.

    Every layer takes its best operation; the path is the best one by the scores of its edges
    (Viterbi), less what it costs with these.

    Args:
        space: The blocks.
        edge_scores: Logarithms of the weights of ``space.edges``.
        head_scores: (inner edges, operations) Logarithms of the head operations' weights.
        layer_scores: (layers, operations) Of ``space.layers``.
        name: Of the result.
        final: Of the result: channels of the closing convolution.
        scales: Which the decoder reads; counts only with a price.
        price: What a unit of cost is worth.
        table: Needed where there is a price.
    """
    head_costs, layer_costs = costs_of_operations(space, table)
    heads = (np.asarray(head_scores) - price * head_costs).argmax(1)
    layers = (np.asarray(layer_scores) - price * layer_costs).argmax(1)
    score = dict(zip(space.edges, map(float, edge_scores), strict=True))
    head_of = {edge: i for i, edge in enumerate(space.inner)}
    rows: dict[int, list[int]] = {}
    for row, (block, _) in enumerate(space.layers):
        rows.setdefault(block, []).append(row)

    def cost(after: Step, edge: tuple[int, int]) -> float:
        if table is None:
            return 0.0
        if after.block == space.end:
            return table[decoder_part(after.left)]
        i = head_of[edge]
        stack = rows.get(after.block, [])
        return head_costs[i, heads[i]] + sum(layer_costs[row, layers[row]] for row in stack)

    edges = []
    for before, after in walks(space, scales if table is not None else ()):
        edge = (before.block, after.block)
        edges.append((before, after, score[edge] - price * cost(after, edge)))
    ends = list(dict.fromkeys(after for _, after, _ in edges if after.block == space.end))
    path = [step.block for step in best_path(edges, Step(0), ends)][:-1]
    head_names, layer_names = FAMILIES[space.family]
    return build(
        space,
        path,
        [head_names[heads[head_of[edge]]] for edge in itertools.pairwise(path)],
        [[layer_names[layers[row]] for row in rows.get(block, [])] for block in path[1:]],
        name,
        final,
    )


def build(
    space: DenseSpace,
    path: Sequence[int],
    heads: Sequence[str],
    stacks: Sequence[Sequence[str]],
    name: str,
    final: int = 0,
) -> DenseNASArchitecture:
    """The network of a path, with a head and a stack for each of its blocks but the first."""
    first = space.blocks[path[0]].width
    blocks = [BlockSpec(first, operation, (), 1) for operation in FIRST[space.family]]
    for before, block, head, stack in zip(path, path[1:], heads, stacks, strict=False):
        stride = 2 if space.blocks[block].scale > space.blocks[before].scale else 1
        blocks.append(BlockSpec(space.blocks[block].width, head, tuple(stack), stride))
    return DenseNASArchitecture(
        name=name, level='cell', stem=first, blocks=tuple(blocks), final=final
    )


def score(
    space: DenseSpace,
    network: DenseNASArchitecture,
    edge_scores: Sequence[float],
    head_scores: np.ndarray,
    layer_scores: np.ndarray,
) -> float:
    """The sum of what its edges and operations score."""
    path = space.walk_of(network)
    head_names, layer_names = FAMILIES[space.family]
    total = sum(edge_scores[space.edges.index(e)] for e in itertools.pairwise((*path, space.end)))
    specs = network.blocks[len(FIRST[space.family]) :]
    for edge, spec in zip(itertools.pairwise(path), specs, strict=True):
        total += head_scores[space.inner.index(edge), head_names.index(spec.head)]
        for layer, name in enumerate(spec.stack):
            total += layer_scores[space.layers.index((edge[1], layer)), layer_names.index(name)]
    return total


def neighbours(space: DenseSpace, network: DenseNASArchitecture) -> Iterator[DenseNASArchitecture]:
    """All networks that differ in the operation of one layer."""
    head_names, layer_names = FAMILIES[space.family]
    for i in range(len(FIRST[space.family]), len(network.blocks)):
        block = network.blocks[i]
        others = [block._replace(head=name) for name in head_names if name != block.head]
        for layer, old in enumerate(block.stack):
            stacks = ((*block.stack[:layer], n, *block.stack[layer + 1 :]) for n in layer_names)
            others += [block._replace(stack=stack) for stack in stacks if stack[layer] != old]
        for other in others:
            yield replace(network, blocks=(*network.blocks[:i], other, *network.blocks[i + 1 :]))


def random_architecture(
    space: DenseSpace, rng: np.random.Generator, name: str, final: int = 0
) -> DenseNASArchitecture:
    """A network drawn from the space: at every block an edge, in every layer an operation."""
    path = [0]
    while path[-1] != space.end:
        following = space.outgoing[path[-1]]
        path.append(space.edges[following[rng.integers(len(following))]][1])
    path.pop()
    head_names, layer_names = FAMILIES[space.family]
    heads = rng.choice(head_names, len(path) - 1).tolist()
    stacks = [rng.choice(layer_names, space.blocks[block].depth).tolist() for block in path[1:]]
    return build(space, path, heads, stacks, name, final)


def network_cost(
    space: DenseSpace,
    architecture: DenseNASArchitecture,
    scales: tuple[int, ...],
    table: CostTable,
) -> float:
    """Cost of a network."""
    path = space.walk_of(architecture)
    total, left = table['stem'], []
    specs = architecture.blocks[len(FIRST[space.family]) :]
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
    """Mean cost of the networks that the weights stand for, differentiable (section 3.4).

    A path is as probable as the product of its edges' weights, each layer has one operation, drawn
    by its weights.

    Args:
        space: The blocks.
        edge_weights: (edges,) Summing to 1 over each block's outgoing ones.
        head_weights: (inner edges, operations) Each row summing to 1.
        layer_weights: (layers, operations) Each row summing to 1.
        scales: Which the decoder reads.
        table: The parts.
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
    weight = dict(zip(space.edges, edge_weights.unbind(), strict=True))
    steps = walks(space, scales)
    costs, weights = [], []
    for before, after in steps:
        edge = (before.block, after.block)
        weights.append(weight[edge])
        if after.block == space.end:
            costs.append(table[decoder_part(after.left)])
        else:
            costs.append(means[edge] + stacks[after.block])
    ends = list(dict.fromkeys(after for _, after in steps if after.block == space.end))
    return table['stem'] + expected_path_cost(steps, weights, costs, ends)


def costs_of_operations(
    space: DenseSpace, table: CostTable | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of head layers, (inner edges, operations), and of stacks, (layers, operations)."""
    heads, layers = FAMILIES[space.family]

    def cost(part: str) -> float:
        return 0.0 if table is None or part.endswith(SKIP) else table[part]

    return (
        np.array([[cost(head_part(*edge, name)) for name in heads] for edge in space.inner]),
        np.array(
            [[cost(layer_part(block, name)) for name in layers] for block, _ in space.layers]
        ).reshape(-1, len(layers)),
    )


def leave_weights(space: DenseSpace, edge_weights: Tensor) -> dict[int, dict[int, Tensor]]:
    """With which probability paths leave each scale from each block, by scale and block.

    Every path leaves every scale that it enters once, or ends there: each scale's sum to 1 where
    all paths enter it.

    Args:
        space: The blocks.
        edge_weights: (edges,) Summing to 1 over each block's outgoing ones.
    """
    weight = dict(zip(space.edges, edge_weights.unbind(), strict=True))
    visits = {0: edge_weights.new_ones(())}
    leaves: dict[int, dict[int, Tensor]] = {}
    for block, spec in enumerate(space.blocks):
        for index in space.outgoing[block]:
            target = space.edges[index][1]
            passing = visits[block] * weight[block, target]
            if target == space.end or space.blocks[target].scale > spec.scale:
                row = leaves.setdefault(spec.scale, {})
                row[block] = row[block] + passing if block in row else passing
            if target != space.end:
                visits[target] = visits[target] + passing if target in visits else passing
    return leaves

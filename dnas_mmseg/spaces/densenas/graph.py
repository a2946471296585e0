"""Graph of the DenseNAS search: routing blocks in order, each with several possible successors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from dnas_mmseg.spaces.architecture import ArchitectureError, Point
from dnas_mmseg.spaces.trellis import Trellis, UnfoldedTrellis

from .architecture import BASIC, SKIP, DenseNASArchitecture

_BOTTLENECKS = tuple(f'k{kernel}t{expansion}' for kernel in (3, 5, 7) for expansion in (3, 6))


FAMILIES = {
    'mbconv': (_BOTTLENECKS, (*_BOTTLENECKS, SKIP)),
    'basic': ((BASIC,), (BASIC, SKIP)),
}
"""Operations of head layers and of stacks, by type of blocks."""

STEM_LAYERS = {'mbconv': ('k3t1',), 'basic': ()}
"""Layers of the first block after the stem, which are not searched, by type of blocks."""


class RoutingBlock(NamedTuple):
    """Width, stage, scale (stride ``4 * 2**scale``) and depth of the stack of a routing block."""

    width: int
    stage: int
    scale: int
    depth: int


@dataclass(frozen=True)
class DenseSpace:
    """Routing blocks and their possible connections.

    Attributes:
        family: Type of the blocks, one of :data:`FAMILIES`.
        blocks: Routing blocks in order; the first one belongs to the stem.
        trellis: Graph of the indices of blocks, from 0 to the end, ``len(blocks)``. Edges to the
            end, from all blocks of the last stage, come last.
    """

    family: str
    blocks: tuple[RoutingBlock, ...]
    trellis: Trellis[int]

    @property
    def end(self) -> int:
        """Index of the end of all paths."""
        return len(self.blocks)

    @cached_property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """Edges between blocks, which have head layers."""
        return tuple(edge for edge in self.trellis.edges if edge[1] != self.end)

    @cached_property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(block, index from 0) of all layers of the stacks."""
        return tuple((i, layer) for i, b in enumerate(self.blocks) for layer in range(b.depth))

    def node(self, block: int) -> Point:
        """Return (width, scale) of a block, which identifies it in architectures."""
        return self.blocks[block].width, self.blocks[block].scale

    def path_of(self, architecture: DenseNASArchitecture) -> list[int]:
        """Return the indices of the blocks of a network.

        Raises:
            ArchitectureError: The network is not of this space.
        """
        index = {self.node(i): i for i in range(len(self.blocks))}
        nodes = [self.node(0), *(target for _, target in architecture.graph)]
        unknown = [node for node in nodes if node not in index]
        if unknown:
            raise ArchitectureError(
                f"architecture '{architecture.name}': block of width {unknown[0][0]} at stride "
                f'{4 * 2 ** unknown[0][1]:g} is not in this space'
            )
        return [index[node] for node in nodes]


def dense_space(
    family: str,
    widths: Sequence[Sequence[int]],
    strides: Sequence[int],
    depths: Sequence[int],
    window: int,
) -> DenseSpace:
    """Build a space from widths, strides and depths.

    A block connects to those of the next ``window`` blocks that are in its stage or the next one,
    at its stride or twice its stride.

    Args:
        family: Type of the blocks, one of :data:`FAMILIES`.
        widths: Widths of the blocks, by stage; the first stage is the single block of the stem.
        strides: Strides of the stages; 2 for the first one.
        depths: Numbers of layers of the stacks, by stage.
        window: Number of following blocks that a block can connect to.

    Raises:
        ArchitectureError: An entry is invalid; the message names it.
    """

    def fail(message: str) -> None:
        raise ArchitectureError(f'search space: {message}')

    if family not in FAMILIES:
        fail(f"block '{family}' is unknown; available: {', '.join(FAMILIES)}")
    if not len(widths) == len(strides) == len(depths) or len(widths) < 2:
        fail(
            f'widths, strides and depths have {len(widths)}, {len(strides)} and {len(depths)} '
            'entries; equal numbers of at least 2 are required'
        )
    if len(widths[0]) != 1 or strides[0] != 2 or depths[0] != 0:
        fail(
            f'the first stage is the stem: widths[0] = {list(widths[0])}, strides[0] = '
            f'{strides[0]}, depths[0] = {depths[0]}; one width, stride 2 and depth 0 are required'
        )
    for stage, (row, stride, depth) in enumerate(zip(widths, strides, depths, strict=True)):
        if not row or min(row) < 1 or list(row) != sorted(set(row)):
            fail(f'widths[{stage}] = {list(row)}: positive, increasing widths are required')
        if stage and stride / strides[stage - 1] not in (1, 2):
            fail(
                f'strides[{stage}] = {stride} after {strides[stage - 1]}: an equal or double '
                'stride is required'
            )
        if depth < 0:
            fail(f'depths[{stage}] = {depth}: at least 0 is required')
    if window < 1:
        fail(f'window = {window}: at least 1 is required')
    blocks = tuple(
        RoutingBlock(width, stage, int(stride).bit_length() - 3, depth)
        for stage, (row, stride, depth) in enumerate(zip(widths, strides, depths, strict=True))
        for width in row
    )
    nodes = [(block.width, block.scale) for block in blocks]
    for i, (width, scale) in enumerate(nodes):
        if (width, scale) in nodes[:i]:
            fail(
                f'widths[{blocks[i].stage}] repeats width {width} of an earlier stage at stride '
                f'{4 * 2**scale:g}; pairs of width and stride must be unique'
            )
    edges = [
        (i, j)
        for j in range(1, len(blocks))
        for i in range(max(0, j - window), j)
        if blocks[j].stage - blocks[i].stage <= 1
    ]
    ends = [(i, len(blocks)) for i, b in enumerate(blocks) if b.stage == len(widths) - 1]
    return DenseSpace(family, blocks, Trellis((*edges, *ends), 0, (len(blocks),)))


class PathState(NamedTuple):
    """Block of a path, plus the blocks at which it left the scales that the decoder reads."""

    block: int
    left: tuple[int, ...] = ()


@lru_cache(maxsize=16)
def state_trellis(space: DenseSpace, scales: tuple[int, ...]) -> UnfoldedTrellis[PathState]:
    """Return the trellis of path states, which determine the cost of the decoder.

    Args:
        space: Routing blocks and their edges.
        scales: Scales that the decoder reads.
    """

    def after(state: PathState, target: int) -> PathState:
        scale = space.blocks[state.block].scale
        leaves = target == space.end or space.blocks[target].scale > scale
        return PathState(
            target, (*state.left, state.block) if leaves and scale in scales else state.left
        )

    return space.trellis.unfolded(PathState(0), after)

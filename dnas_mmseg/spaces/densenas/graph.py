"""Graph that DenseNAS searches: a row of blocks, each followed by one of those behind it."""

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
"""Operations of head layers, and those of stacks, by type of blocks."""

STEM_LAYERS = {'mbconv': ('k3t1',), 'basic': ()}
"""Layers behind the stem, in the first block, which are not searched, by type of blocks."""


class RoutingBlock(NamedTuple):
    """A routing block: its channels, stage and scale (stride ``4 * 2**scale``), and stack."""

    width: int
    stage: int
    scale: int
    depth: int


@dataclass(frozen=True)
class DenseSpace:
    """The routing blocks, and which of them can follow each other.

    Attributes:
        family: Type of the blocks, one of :data:`FAMILIES`.
        blocks: Routing blocks in a row; the first one is the stem's.
        trellis: Graph of the indices of blocks, from 0 to ``len(blocks)``, its end. The edges that
            end a path, from every block of the last stage, come last.
    """

    family: str
    blocks: tuple[RoutingBlock, ...]
    trellis: Trellis[int]

    @property
    def end(self) -> int:
        """The target of edges that end a path."""
        return len(self.blocks)

    @cached_property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """The edges between blocks, which have head layers."""
        return tuple(edge for edge in self.trellis.edges if edge[1] != self.end)

    @cached_property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(block, index from 0) of every layer of the stacks."""
        return tuple((i, layer) for i, b in enumerate(self.blocks) for layer in range(b.depth))

    def place(self, block: int) -> Point:
        """Return (width, scale) of a block, by which architectures name it."""
        return self.blocks[block].width, self.blocks[block].scale

    def path_of(self, architecture: DenseNASArchitecture) -> list[int]:
        """Return the indices of a network's blocks, from the first on.

        Raises:
            ArchitectureError: The network is not of this space.
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
    """Return the space of some widths, strides and depths.

    A block can lead to those within the next ``window`` blocks that are of its stage or the next
    one, at its stride or twice that.

    Args:
        family: Type of the blocks, one of :data:`FAMILIES`.
        widths: Widths of the blocks, by stage; the first stage is the stem's single block.
        strides: Strides of the stages; the first one has 2.
        depths: Numbers of layers in the stacks of each stage's blocks.
        window: Number of following blocks that a block can lead to.

    Raises:
        ArchitectureError: An entry is not possible; the message says which.
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
        RoutingBlock(width, stage, int(stride).bit_length() - 3, depth)
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
    return DenseSpace(family, blocks, Trellis((*edges, *ends), 0, (len(blocks),)))


class PathState(NamedTuple):
    """Block that a path is at, and the blocks from which it left the scales the decoder reads."""

    block: int
    left: tuple[int, ...] = ()


@lru_cache(maxsize=16)
def state_trellis(space: DenseSpace, scales: tuple[int, ...]) -> UnfoldedTrellis[PathState]:
    """Return the trellis of path states, which determine the decoder's cost.

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

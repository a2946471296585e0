"""Architectures of the Auto-DeepLab space: a path through the strides and one cell for all layers.

Source: Liu et al., CVPR 2019 (arXiv 1901.02985), sections 3 and 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from dnas_mmseg.spaces.architecture import Architecture, Edge, Point
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node

OPERATIONS = ('sep3', 'sep5', 'atrous3', 'atrous5', 'avg3', 'max3', 'skip')
"""Operations of a branch: separable and atrous convolutions, pooling, identity."""

LOW_LEVEL = 2
"""Index of the layer whose output is the low-level feature of decoders: the third layer."""

TWO_BEFORE, ONE_BEFORE = 0, 1
"""Inputs of a branch: outputs of the two previous cells; from 2 on, earlier blocks of the cell."""


class Branch(NamedTuple):
    """An operation on one of the possible inputs of a block."""

    input: int
    operation: str


Block = tuple[Branch, Branch]
"""The sum of two branches."""


@dataclass(frozen=True, kw_only=True)
class AutoDeepLabArchitecture(Architecture):
    """Describe a network of the Auto-DeepLab space.

    Path and cell are searched together, so ``'cell'`` is the only level.

    Attributes:
        path: Scale of each layer.
        cell: Blocks of the cell, which is equal in all layers; its output is their concatenation.
            A block is a sum, so its branches are sorted by input.
    """

    space: ClassVar[str] = 'autodeeplab'
    axes: ClassVar[tuple[str, str]] = ('layer', 'branch (block, input)')

    path: tuple[int, ...]
    cell: tuple[Block, ...]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.path)

    @property
    def low_level(self) -> int:
        """Index of the layer whose output is the low-level feature of decoders."""
        return min(LOW_LEVEL, self.layers - 1)

    @property
    def graph(self) -> tuple[Edge, ...]:
        return tuple(itertools.pairwise([STEM, *map(Node, range(self.layers), self.path)]))

    @property
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        return {
            (i, source): (operation,)
            for i, block in enumerate(self.cell)
            for source, operation in block
        }

    @property
    def scalars(self) -> dict[str, float]:
        return {f'path_{layer:02d}': scale for layer, scale in enumerate(self.path)}

    @property
    def summary(self) -> dict[str, str]:
        return {'path': '-'.join(map(str, self.path)), 'blocks': str(len(self.cell))}

    @property
    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        names = ['the second previous cell', 'the previous cell']
        names += [f'block {i}' for i in range(len(self.cell))]
        return ('block', 'sum of', 'and'), [
            (str(i), *(f'{operation} of {names[source]}' for source, operation in block))
            for i, block in enumerate(self.cell)
        ]

    def pruned(self) -> AutoDeepLabArchitecture:
        """Return the network unchanged, because all blocks are part of the output."""
        return self

    def at_level(self, level: str) -> AutoDeepLabArchitecture:
        if level != 'cell':
            self._fail(f"has no level '{level}': path and cell are decided together")
        return self

    @classmethod
    def _parse(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        return {
            'path': tuple(int(scale) for scale in document['path']),
            'cell': tuple(
                tuple(Branch(int(source), str(operation)) for source, operation in block)
                for block in document['cell']
            ),
        }

    def _body(self) -> dict[str, Any]:
        return {
            'path': list(self.path),
            'cell': [[list(branch) for branch in block] for block in self.cell],
        }

    def _validate(self) -> None:
        if self.level != 'cell':
            self._fail(f"level '{self.level}': path and cell are decided together, at level 'cell'")
        if not self.path:
            self._fail('path is empty')
        previous = 0
        for layer, scale in enumerate(self.path):
            if not 0 <= scale < NUM_SCALES:
                self._fail(f'path: scale {scale} of layer {layer} is not in 0..{NUM_SCALES - 1}')
            if abs(scale - previous) > 1:
                self._fail(f'path jumps from scale {previous} to {scale} at layer {layer}')
            previous = scale
        if not self.cell:
            self._fail('the cell has no blocks')
        for i, block in enumerate(self.cell):
            if len(block) != 2:
                self._fail(f'block {i} has {len(block)} branches, 2 are required')
            for source, operation in block:
                if not 0 <= source < 2 + i:
                    self._fail(
                        f'block {i} has input {source}; valid inputs are 0 and 1 (previous cells) '
                        f'and earlier blocks, up to {1 + i}'
                    )
                if operation not in OPERATIONS:
                    self._fail(
                        f"operation '{operation}' of block {i} is unknown; available: "
                        f'{", ".join(OPERATIONS)}'
                    )
            if block[0].input == block[1].input:
                self._fail(f'both branches of block {i} have input {block[0].input}')
        object.__setattr__(self, 'cell', tuple(tuple(sorted(block)) for block in self.cell))

"""Architectures of the DenseNAS space: blocks of searched widths and depths in a row.

Source: Fang et al., CVPR 2020 (arXiv 1906.09607), section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from dnas_mmseg.spaces.architecture import Architecture, Edge, Point

BASIC = 'basic'
"""Operation of ResNet-type blocks."""

SKIP = 'skip'
"""Operation of a layer of a stack that does nothing."""

_BOTTLENECK = re.compile(r'k([357])t([136])')


class BlockSpec(NamedTuple):
    """A block: a head layer that changes width and resolution, and layers behind it that keep them.

    ``k5t6`` is an inverted bottleneck (MobileNetV2) with a 5 x 5 depthwise convolution and 6 times
    the channels inside, ``basic`` a residual block of two 3 x 3 convolutions (ResNet).
    """

    width: int
    head: str
    stack: tuple[str, ...]
    stride: int


@dataclass(frozen=True, kw_only=True)
class DenseNASArchitecture(Architecture):
    """A network of the DenseNAS space.

    Widths, connections and operations are searched together, so there is one level, ``'cell'``.

    Attributes:
        stem: Number of channels of the first convolution, at stride 2.
        blocks: Blocks in order.
        final: Number of channels of the closing 1x1 convolution, which classifiers have; 0 for
            none.
    """

    space: ClassVar[str] = 'densenas'
    axes: ClassVar[tuple[str, str]] = ('width', 'head (from, to), layer (of block, index)')

    stem: int
    blocks: tuple[BlockSpec, ...]
    final: int

    @property
    def steps(self) -> tuple[tuple[Point, Point, BlockSpec], ...]:
        """Triples (place before, place, block), one for each block.

        A place is (width, scale); scale ``s`` has stride ``4 * 2**s``, that of the stem is -1.
        """
        steps, place = [], (self.stem, -1)
        for block in self.blocks:
            before, place = place, (block.width, place[1] + block.stride - 1)
            steps.append((before, place, block))
        return tuple(steps)

    @property
    def graph(self) -> tuple[Edge, ...]:
        return tuple((source, target) for source, target, _ in self.steps if source != target)

    @property
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        chosen: dict[Point, tuple[str, ...]] = {}
        for source, target, block in self.steps:
            if source != target:
                between: Point = (*source, *target)
                chosen[between] = (block.head,)
            for layer, operation in enumerate(block.stack, 1):
                place: Point = (*target, layer)
                chosen[place] = (operation,)
        return chosen

    @property
    def summary(self) -> dict[str, str]:
        layers = sum(1 + len(block.stack) for block in self.pruned().blocks)
        widths = '-'.join(str(block.width) for block in self.blocks)
        return {'widths': widths, 'layers': str(layers)}

    @property
    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        return ('width', 'stride', 'head', 'stack'), [
            (str(width), str(stride), head, ', '.join(stack))
            for width, head, stack, stride in self.blocks
        ]

    def pruned(self) -> DenseNASArchitecture:
        """Return the network without skipped layers."""
        return replace(
            self,
            blocks=tuple(
                block._replace(stack=tuple(name for name in block.stack if name != SKIP))
                for block in self.blocks
            ),
        )

    def at_level(self, level: str) -> DenseNASArchitecture:
        if level != 'cell':
            self._fail(f"has no level '{level}': everything is decided together")
        return self

    @classmethod
    def _parse(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        blocks = (
            BlockSpec(int(row['width']), row['head'], tuple(row['stack']), int(row['stride']))
            for row in document['blocks']
        )
        return {
            'stem': int(document['stem']),
            'blocks': tuple(blocks),
            'final': int(document['final']),
        }

    def _body(self) -> dict[str, Any]:
        blocks = [{**b._asdict(), 'stack': list(b.stack)} for b in self.blocks]
        return {'stem': self.stem, 'final': self.final, 'blocks': blocks}

    def _validate(self) -> None:
        if self.level != 'cell':
            self._fail(f"level '{self.level}': everything is decided together, level 'cell'")
        if not self.blocks:
            self._fail('there are no blocks')
        for i, block in enumerate(self.blocks):
            if block.width < 1 or block.stride not in (1, 2):
                self._fail(
                    f'block {i}: width {block.width}, stride {block.stride}; a width of at least 1 '
                    'and a stride of 1 or 2 are needed'
                )
            for operation in (block.head, *(name for name in block.stack if name != SKIP)):
                if operation != BASIC and not _BOTTLENECK.fullmatch(str(operation)):
                    self._fail(
                        f"operation '{operation}' of block {i} is unknown; k3t6 for instance: "
                        f'kernel 3, 5 or 7, expansion 1, 3 or 6; or {BASIC}; in stacks also {SKIP}'
                    )


def kernel_and_expansion(operation: str) -> tuple[int, int]:
    """Return the kernel size and the expansion in an inverted bottleneck's name."""
    name = _BOTTLENECK.fullmatch(operation)
    assert name is not None, f'{operation} is no inverted bottleneck'
    return int(name[1]), int(name[2])

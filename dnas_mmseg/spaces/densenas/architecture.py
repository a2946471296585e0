"""Architectures of the DenseNAS space: sequences of blocks with searched widths and depths.

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
"""Operation of a stack layer that is omitted from the network."""

_BOTTLENECK = re.compile(r'k([357])t([136])')


class BlockSpec(NamedTuple):
    """A block: a head layer that changes width and resolution, and a stack of layers after it.

    ``k5t6`` is an inverted bottleneck (MobileNetV2) with a 5 x 5 depthwise convolution and 6-fold
    expansion, ``basic`` a residual block of two 3 x 3 convolutions (ResNet).
    """

    width: int
    head: str
    stack: tuple[str, ...]
    stride: int


@dataclass(frozen=True, kw_only=True)
class DenseNASArchitecture(Architecture):
    """Describe a network of the DenseNAS space.

    Widths, connections and operations are searched together, so ``'cell'`` is the only level.

    Attributes:
        stem: Number of channels of the first convolution, at stride 2.
        blocks: Blocks in order.
        final: Number of channels of the final 1x1 convolution of classifiers; 0 for none.
    """

    space: ClassVar[str] = 'densenas'
    axes: ClassVar[tuple[str, str]] = ('width', 'head (from, to), layer (of block, index)')

    stem: int
    blocks: tuple[BlockSpec, ...]
    final: int

    @property
    def steps(self) -> tuple[tuple[Point, Point, BlockSpec], ...]:
        """Triples (source node, target node, block), one for each block.

        A node is (width, scale); scale ``s`` has stride ``4 * 2**s``, the stem has scale -1.
        """
        steps, node = [], (self.stem, -1)
        for block in self.blocks:
            before, node = node, (block.width, node[1] + block.stride - 1)
            steps.append((before, node, block))
        return tuple(steps)

    @property
    def graph(self) -> tuple[Edge, ...]:
        return tuple((source, target) for source, target, _ in self.steps if source != target)

    @property
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        selected: dict[Point, tuple[str, ...]] = {}
        for source, target, block in self.steps:
            if source != target:
                head: Point = (*source, *target)
                selected[head] = (block.head,)
            for layer, operation in enumerate(block.stack, 1):
                stack_layer: Point = (*target, layer)
                selected[stack_layer] = (operation,)
        return selected

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
            self._fail(f"level '{self.level}': everything is decided together, at level 'cell'")
        if not self.blocks:
            self._fail('there are no blocks')
        for i, block in enumerate(self.blocks):
            if block.width < 1 or block.stride not in (1, 2):
                self._fail(
                    f'block {i}: width {block.width}, stride {block.stride}; a width of at least 1 '
                    'and a stride of 1 or 2 are required'
                )
            for operation in (block.head, *(name for name in block.stack if name != SKIP)):
                if operation != BASIC and not _BOTTLENECK.fullmatch(str(operation)):
                    self._fail(
                        f"operation '{operation}' of block {i} is unknown; expected {BASIC}, "
                        f'{SKIP} (in stacks), or k<kernel 3, 5, 7>t<expansion 1, 3, 6> such as k3t6'
                    )


def kernel_and_expansion(operation: str) -> tuple[int, int]:
    """Return the kernel size and the expansion from the name of an inverted bottleneck."""
    name = _BOTTLENECK.fullmatch(operation)
    assert name is not None, f'{operation} is no inverted bottleneck'
    return int(name[1]), int(name[2])

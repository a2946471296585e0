"""Architectures of the DenseNAS space: blocks of searched widths and depths in a row.

Source: Fang et al., CVPR 2020 (arXiv 1906.09607), section 3. Block type MobileNetV2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from .architecture import Architecture

_OPERATION = re.compile(r'k([357])t([136])')


class BlockSpec(NamedTuple):
    """A block: a head layer that changes width and resolution, and layers behind it that keep them.

    ``head`` and ``stack`` name inverted bottlenecks: ``k5t6`` has a 5 x 5 depthwise convolution and
    6 times the channels inside.
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
        stem: Channels of the first convolution, at stride 2.
        blocks: In order.
        final: Channels of the closing 1x1 convolution, which classifiers have.
    """

    space: ClassVar[str] = 'densenas'

    stem: int
    blocks: tuple[BlockSpec, ...]
    final: int

    def pruned(self) -> DenseNASArchitecture:
        """The same: the blocks are a row."""
        return self

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
            for operation in (block.head, *block.stack):
                if not _OPERATION.fullmatch(str(operation)):
                    self._fail(
                        f"operation '{operation}' of block {i} is unknown; k3t6 for instance: "
                        'kernel 3, 5 or 7, expansion 1, 3 or 6'
                    )


def kernel_and_expansion(operation: str) -> tuple[int, int]:
    """What an operation's name says."""
    kernel, expansion = _OPERATION.fullmatch(operation).groups()
    return int(kernel), int(expansion)

"""Open decisions of a supernet, in a form that all search spaces share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .architecture import Point

Kind = Literal['incoming', 'outgoing', 'gate', 'operation']


@dataclass(frozen=True)
class Decision:
    """A decision of the architecture parameters, with a probability for each option.

    Attributes:
        kind: ``'incoming'``: which edge into the node; ``'outgoing'``: which edge out of it;
            ``'gate'``: whether the edge from the only option exists; ``'operation'``: which
            operations the node has.
        node: Node of the decision, (layer, scale) or the coordinates that its space uses.
        options: Nodes at the other ends of the edges, or names of operations.
    """

    kind: Kind
    node: Point
    options: tuple[Point | str, ...]

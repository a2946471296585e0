"""Decisions that a supernet leaves open, in terms that every search space shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .architecture import Point

Kind = Literal['incoming', 'outgoing', 'gate', 'operation']


@dataclass(frozen=True)
class Decision:
    """One choice that architecture parameters make, with a probability for each option.

    Attributes:
        kind: Kind of the choice. ``'incoming'``: which edge into the node; ``'outgoing'``: which
            edge out of it; ``'gate'``: whether the edge from the one option is kept;
            ``'operation'``: which operations the node has.
        node: Node of the choice, as (position, scale) or as the space counts its nodes.
        options: Nodes at the other end of the edges, or names of operations.
    """

    kind: Kind
    node: Point
    options: tuple[Point | str, ...]

"""The best path through a graph of nodes in order."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

N = TypeVar('N', bound=Hashable)

_TIE = 1e-9
"""Scores this close are equal: what is left of rounding in equal ones."""


def best_path(
    edges: Iterable[tuple[N, N, float]], start: N, ends: Collection[N] | Sequence[N]
) -> list[N]:
    """The path whose sum of edge scores is the largest (Viterbi; of logarithms, max-product).

    Ties go to the earlier edge of a node, and to the earlier end: with sources and ends listed
    finest first, a tie stays at the finer one.

    Args:
        edges: (source, target, score), every node's incoming edges before its outgoing ones; an
            edge of score -inf cannot be taken.
        start: Where paths begin.
        ends: Where they may end.

    Returns:
        The nodes of the path, ``start`` and the end included.

    Raises:
        ValueError: No path leads from ``start`` to an end.
    """
    score: dict[N, float] = {start: 0.0}
    came_from: dict[N, N] = {}
    for source, target, gain in edges:
        if source not in score or gain == -math.inf:
            continue
        candidate = score[source] + gain
        if target not in score or candidate > score[target] + _TIE:
            score[target], came_from[target] = candidate, source
    best: N | None = None
    for end in ends:
        if end in score and (best is None or score[end] > score[best] + _TIE):
            best = end
    if best is None:
        raise ValueError(f'no path leads from {start} to any of {list(ends)}')
    path = [best]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]

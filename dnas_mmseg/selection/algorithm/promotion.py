"""Choice of the candidates that are promoted to the next fidelity."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence, Set

import numpy as np

from .problem import C

_DIVERSE_SHARE = 1 / 4
"""Share of the seats of a promotion for other families and costs than those of the best."""

_BANDS = 3
"""Number of bands of cost, of equal numbers of candidates."""


def promote(
    candidates: Sequence[C],
    count: int,
    present: Set[Hashable],
    kind: Callable[[C], Hashable],
    family: Callable[[C], Hashable],
    cost: Callable[[C], float],
) -> list[C]:
    """Return the candidates to promote, in the given order.

    Up to half of the seats, at least two, are for the best of each kind that is not present at the
    fidelity yet. A share is for the best of each family and band of cost that has no seat; the
    others are taken in the given order.

    Args:
        candidates: Candidates, the best first.
        count: Number of seats.
        present: Kinds of the candidates that are at the fidelity already.
        kind: Function that returns the kind of a candidate.
        family: Function that returns its family.
        cost: Function that returns its cost.

    Example:
        >>> ranked = ['a1', 'a2', 'a3', 'b1']
        >>> def letter(candidate):
        ...     return candidate[0]
        >>> promote(ranked, 2, set(), letter, letter, cost=len)
        ['a1', 'b1']
        >>> promote(ranked, 2, {'a', 'b'}, letter, letter, cost=len)
        ['a1', 'a2']
    """
    best = {kind(c): c for c in reversed(candidates) if kind(c) not in present}.values()
    reserved = [c for c in candidates if c in best][: min(count, max(2, count // 2))]
    chosen = dict.fromkeys(reserved)
    for candidate in candidates[: count - int(_DIVERSE_SHARE * count)]:
        if len(chosen) < count:
            chosen[candidate] = None
    ranks = np.argsort(np.argsort([cost(c) for c in candidates], kind='stable'), kind='stable')
    bands = dict(zip(candidates, ranks * _BANDS // len(candidates), strict=True))
    niches = {(family(c), bands[c]) for c in chosen}
    for candidate in candidates:
        niche = family(candidate), bands[candidate]
        if len(chosen) < count and niche not in niches:
            chosen[candidate] = None
            niches.add(niche)
    for candidate in candidates:
        if len(chosen) < count:
            chosen[candidate] = None
    return [c for c in candidates if c in chosen]

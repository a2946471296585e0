"""Decoding of one supernet for several cost targets."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from dnas_mmseg.cost.table import CostError, format_cost
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.cost import CostModel
from dnas_mmseg.spaces.space import MultiTargetMode


def decode_for_all(costs: CostModel, targets: Sequence[float], middle: float) -> Architecture:
    """Return an architecture from which the later stages can reach all targets.

    The supernet is decoded for ``middle``, then for each target from the highest to the lowest,
    until the range of reachable costs contains all targets.

    Args:
        costs: Cost model of the stage's supernet.
        targets: Cost targets.
        middle: First cost to decode for.

    Raises:
        CostError: No decoded architecture reaches all targets.
    """
    for start in (middle, *sorted(targets, reverse=True)):
        try:
            found = costs.decode_to(start)
        except CostError:
            continue
        least, most = costs.range(found)
        if all(least <= target <= most for target in targets):
            return found
    raise CostError(
        'no decoded path reaches all of the targets '
        + ', '.join(format_cost(target, costs.table.metric) for target in targets)
        + ': search for them in separate runs, or choose closer targets'
    )


def decode_each(
    costs: CostModel, targets: Sequence[float], parts: Sequence[Architecture | None]
) -> list[Architecture]:
    """Decode one architecture per target.

    Args:
        costs: Cost model of the stage's supernet.
        targets: Cost targets.
        parts: For each target, the part of the supernet available to its network; None for all.
    """
    return [
        (costs if part is None else costs.within(part)).decode_to(target)
        for target, part in zip(targets, parts, strict=True)
    ]


def representative_architecture(
    mode: MultiTargetMode, decoded: Sequence[Architecture]
) -> Architecture:
    """Return the architecture from which the next stage starts.

    Args:
        mode: Multi-target mode of the stage.
        decoded: Architectures of all targets, in ascending order of cost.

    Returns:
        The union of all if ``mode`` is ``JOINED``, else the most expensive one.
    """
    if mode is MultiTargetMode.JOINED:
        return functools.reduce(lambda a, b: a.union(b), decoded)
    return decoded[-1]

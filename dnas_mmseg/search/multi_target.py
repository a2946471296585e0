"""Networks of several costs from the weights of one search."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from dnas_mmseg.cost.table import CostError, format_cost
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.cost import CostModel
from dnas_mmseg.spaces.space import MultiTargetMode


def decode_for_all(costs: CostModel, targets: Sequence[float], middle: float) -> Architecture:
    """Return an architecture from which the later stages can reach all targets.

    What is decoded for the middle is tried first, then what is decoded for each of the targets.

    Args:
        costs: Cost model of the stage's supernet.
        targets: Costs of all targets.
        middle: Cost to begin with; then the targets are tried, the dearest first.

    Raises:
        CostError: None of these will do.
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
        'no path was found that leads to all of the targets '
        + ', '.join(format_cost(target, costs.table.metric) for target in targets)
        + ': search them in two runs, or nearer to each other'
    )


def decode_each(
    costs: CostModel, targets: Sequence[float], parts: Sequence[Architecture | None]
) -> list[Architecture]:
    """Return an architecture per target.

    Args:
        costs: Cost model of the stage's supernet.
        targets: Costs of all targets.
        parts: Parts of the supernet that the networks keep to, one for each target; None for all.
    """
    return [
        (costs if part is None else costs.within(part)).decode_to(target)
        for target, part in zip(targets, parts, strict=True)
    ]


def representative_architecture(
    several: MultiTargetMode, found: Sequence[Architecture]
) -> Architecture:
    """Return the architecture that stands for all a stage has decoded, given the cheapest first.

    That is their union where the next stage needs the parts of all, else the dearest.
    """
    if several is MultiTargetMode.JOINED:
        return functools.reduce(lambda a, b: a.union(b), found)
    return found[-1]

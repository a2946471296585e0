"""Tables of the costs of a space's parts, expectations by them, and targets."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_json

METRICS = {'macs': 'multiply-adds', 'params': 'parameters', 'latency': 's'}
"""Metrics that a table can have, with their units."""

Result = TypeVar('Result')
_TOLERANCE = 0.01
_STEPS = 40


class CostError(UserError):
    """A target that cannot be met, or a table that does not hold here."""


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs of the parts of a space's networks; a network's cost is the sum of its parts'.

    Attributes:
        metric: Metric, one of :data:`METRICS`.
        facts: Facts that the table holds for: the space, width, bands, size of the images; for
            latency also device, threads and dtype.
        values: Costs of the parts, by the names that the space gives them.

    Tables are compared by identity, so that what is computed from a table can be kept.
    """

    metric: str
    facts: Mapping[str, Any]
    values: Mapping[str, float]

    def __getitem__(self, part: str) -> float:
        return self.values[part]

    def save(self, path: str | os.PathLike) -> None:
        """Write the table as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike, facts: Mapping[str, Any]) -> CostTable:
        """Read a table that holds here.

        Args:
            path: Path of a file that :meth:`save` wrote.
            facts: Facts that the table must hold for; it may have more.

        Raises:
            CostError: The table is missing, damaged, or of another device, size or width.
        """
        try:
            table = cls(**json.loads(Path(path).read_text(encoding='utf-8')))
            have = dict(table.facts)
        except FileNotFoundError:
            raise CostError(f'{path}: no such table; dnas measure-latency writes it') from None
        except (ValueError, TypeError) as error:
            raise CostError(f'{path} is no cost table ({error})') from None
        wanted = json.loads(json.dumps(dict(facts)))
        differing = [f'{k}: {have.get(k)}, here {v}' for k, v in wanted.items() if have.get(k) != v]
        if differing:
            raise CostError(
                f'{path} does not hold here ({"; ".join(differing)}): measure again by '
                'dnas measure-latency'
            )
        return table


def inclusion_probabilities(probabilities: Tensor, draws: int) -> Tensor:
    """Return the inclusion probability of each option in a sample without replacement.

    Options are sampled one after another, each in proportion to its probability.

    Args:
        probabilities: Probabilities of the options in the first draw, (..., options), which sum to
            1 in each row.
        draws: Number of draws, at most 3.

    Returns:
        Probabilities, (..., options), which sum to ``draws`` in each row; exact and differentiable.
    """
    if not 1 <= draws <= 3:
        raise ValueError(f'draws = {draws}: 1 to 3 are worked out')
    p, n = probabilities, probabilities.shape[-1]
    tiny = torch.finfo(p.dtype).tiny
    # What is left is summed, not subtracted from 1, of which little may be left.
    other = 1 - torch.eye(n, dtype=p.dtype, device=p.device)
    total = p
    if draws > 1:
        # [j, k]: j first, then k.
        second = p[..., :, None] * p[..., None, :] * other
        second = second / (p @ other).clamp_min(tiny)[..., :, None]
        total = total + second.sum(-2)
    if draws > 2:
        third = other[:, None, :] * other[None, :, :]  # [j, k, i]: i is neither j nor k
        left = torch.einsum('...i,jki->...jk', p, third).clamp_min(tiny)
        total = total + p * torch.einsum('...jk,jki->...i', second / left, third)
    return total


def meet_target(
    decode: Callable[[float], Result], cost: Callable[[Result], float], target: float
) -> Result:
    """Return the preferred choice among those that cost about as much as a target.

    Decoding with a price on cost gives the most probable choice at some cost (a Lagrangian); the
    price is found by bisection. At price 0 it is the plain decoding, which stays where it fits.

    Args:
        decode: Function from a price, in units of ``1 / target``, to a choice that gets cheaper
            with it.
        cost: Function from a choice to its cost.
        target: Cost that the choice should have.

    Returns:
        First choice found within a hundredth of the target; where there is none, the nearest.
    """

    def off(choice: Result) -> float:
        return math.log(cost(choice) / target)

    low = high = 0.0
    best = decode(0.0)
    distance = off(best)
    sign = 1.0 if distance > 0 else -1.0
    step = 1e-4
    if abs(distance) <= _TOLERANCE:
        return best
    best_distance = abs(distance)
    for _ in range(_STEPS):
        low, high = high, sign * step
        choice = decode(high)
        distance = off(choice)
        if abs(distance) < best_distance:
            best, best_distance = choice, abs(distance)
        if sign * distance <= 0:
            break
        step *= 2
    for _ in range(_STEPS):
        if best_distance <= _TOLERANCE:
            break
        middle = (low + high) / 2
        choice = decode(middle)
        distance = off(choice)
        if abs(distance) < best_distance:
            best, best_distance = choice, abs(distance)
        if sign * distance > 0:
            low = middle
        else:
            high = middle
    return best


def improve_towards_target(
    found: Result,
    neighbours: Callable[[Result], Iterable[Result]],
    score: Callable[[Result], float],
    cost: Callable[[Result], float],
    target: float,
) -> Result:
    """Move a choice to a target by single changes, where prices leave gaps.

    Args:
        found: Choice to begin with.
        neighbours: Function from a choice to those that differ from it in one thing.
        score: Function from a choice to its score; larger ones are preferred.
        cost: Function from a choice to its cost.
        target: Cost that the choice should have.

    Returns:
        Choice with the largest score among those that changes lead to within a hundredth of the
        target; where there is none, the nearest.
    """

    def order(choice: Result) -> tuple[float, float]:
        return max(abs(math.log(cost(choice) / target)), _TOLERANCE), -score(choice)

    best = order(found)
    while best[0] > _TOLERANCE:
        choices = [(order(choice), i, choice) for i, choice in enumerate(neighbours(found))]
        value, _, choice = min(choices, default=(best, 0, found))
        if value[0] >= best[0]:
            break
        best, found = value, choice
    return found


def require_reachable(target: float, least: float, most: float, metric: str) -> None:
    """Refuse a target outside of what can be reached.

    Raises:
        CostError: The target is outside; the message says the range.
    """
    if not least <= target <= most:
        raise CostError(
            f'target {format_cost(target, metric)}: what can be reached from here costs '
            f'{format_cost(least, metric)} to {format_cost(most, metric)}'
        )


def format_cost(value: float, metric: str) -> str:
    """Return a cost with its unit as a text."""
    if metric == 'latency':
        return f'{1e3 * value:.3g} ms'
    for factor, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'K')):
        if value >= factor:
            return f'{value / factor:.4g} {letter} {METRICS[metric]}'
    return f'{value:.4g} {METRICS[metric]}'

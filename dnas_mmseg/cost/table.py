"""Cost tables of a space's parts, and optimisation towards a target cost."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_json

METRICS = {'macs': 'multiply-adds', 'params': 'parameters', 'latency': 's'}
"""Metrics of cost tables, with their units."""

Result = TypeVar('Result')

_UNITS = {'ms': 1e-3, 's': 1.0, 'K': 1e3, 'M': 1e6, 'G': 1e9, '': 1.0}
_TIMES = {'ms', 's'}
_AMOUNT = re.compile(r'((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(ms|s|K|M|G|)')

_TOLERANCE = 0.01
"""Accepted logarithmic distance to a target, about 1 %: smaller ones need more decoding for a
difference that does not matter in practice."""

_STEPS = 40
"""Limit of the doublings of a price and of its bisections. Doublings from 1e-4 reach 1e8, where the
cost alone decides; targets between the costs of two networks use all bisections."""


class CostError(UserError):
    """Raised for an unreachable target, or a cost table that does not fit the settings."""


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs of the parts of a space's networks; the cost of a network is the sum over its parts.

    Tables are compared by identity, so that functions of a table can be cached.

    Attributes:
        metric: Metric, one of :data:`METRICS`.
        facts: Settings that the costs depend on: space, width, bands, size of the images; for
            latency also device, threads and dtype.
        values: Costs of the parts by name.
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
        """Read a table and check the settings it was computed for.

        Args:
            path: Path of a file written by :meth:`save`.
            facts: Required settings; the table may contain more.

        Raises:
            CostError: The file is missing or invalid, or a setting differs.
        """
        try:
            table = cls(**json.loads(Path(path).read_text(encoding='utf-8')))
            have = dict(table.facts)
        except FileNotFoundError:
            raise CostError(f'{path}: no such table; write it by dnas measure-latency') from None
        except (ValueError, TypeError) as error:
            raise CostError(f'{path} is not a cost table ({error})') from None
        wanted = json.loads(json.dumps(dict(facts)))
        differing = [f'{k}: {have.get(k)}, not {v}' for k, v in wanted.items() if have.get(k) != v]
        if differing:
            raise CostError(
                f'{path} is a table of other settings ({"; ".join(differing)}): measure again by '
                'dnas measure-latency'
            )
        return table


def inclusion_probabilities(probabilities: Tensor, sample_size: int) -> Tensor:
    """Return the inclusion probability of each option in a sample without replacement.

    Options are sampled one after another, in proportion to their probabilities.

    Args:
        probabilities: Probabilities of the options, (..., options); each row sums to 1.
        sample_size: Sample size, 1 to 3.

    Returns:
        Inclusion probabilities, (..., options), exact and differentiable; each row sums to
        ``sample_size``.

    Example:
        >>> inclusion_probabilities(torch.tensor([0.5, 0.25, 0.25]), 2)
        tensor([0.8333, 0.5833, 0.5833])
    """
    if not 1 <= sample_size <= 3:
        raise ValueError(f'sample_size = {sample_size}: 1 to 3 are supported')
    p, n = probabilities, probabilities.shape[-1]
    tiny = torch.finfo(p.dtype).tiny
    # Remaining probabilities are summed: 1 - p loses precision where p is close to 1.
    other = 1 - torch.eye(n, dtype=p.dtype, device=p.device)
    total = p
    if sample_size > 1:
        # [j, k]: j first, then k.
        second = p[..., :, None] * p[..., None, :] * other
        second = second / (p @ other).clamp_min(tiny)[..., :, None]
        total = total + second.sum(-2)
    if sample_size > 2:
        third = other[:, None, :] * other[None, :, :]  # [j, k, i]: i is neither j nor k
        left = torch.einsum('...i,jki->...jk', p, third).clamp_min(tiny)
        total = total + p * torch.einsum('...jk,jki->...i', second / left, third)
    return total


def meet_target(
    decode: Callable[[float], Result], cost: Callable[[Result], float], target: float
) -> Result:
    """Return the most probable result whose cost is close to a target.

    Decoding at a price returns the most probable result at some cost (Lagrangian relaxation). The
    price is found by bisection; it is 0, plain decoding, if that already meets the target.

    Args:
        decode: Function from a price, in units of ``1 / target``, to a result; its cost decreases
            with the price.
        cost: Function from a result to its cost.
        target: Target cost.

    Returns:
        First result within 1 % of the target, otherwise the closest one.
    """

    def log_ratio(result: Result) -> float:
        return math.log(cost(result) / target)

    low = high = 0.0
    best = decode(0.0)
    distance = log_ratio(best)
    sign = 1.0 if distance > 0 else -1.0
    step = 1e-4
    if abs(distance) <= _TOLERANCE:
        return best
    best_distance = abs(distance)
    for _ in range(_STEPS):
        low, high = high, sign * step
        result = decode(high)
        distance = log_ratio(result)
        if abs(distance) < best_distance:
            best, best_distance = result, abs(distance)
        if sign * distance <= 0:
            break
        step *= 2
    for _ in range(_STEPS):
        if best_distance <= _TOLERANCE:
            break
        middle = (low + high) / 2
        result = decode(middle)
        distance = log_ratio(result)
        if abs(distance) < best_distance:
            best, best_distance = result, abs(distance)
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
    """Move a result towards a target cost by single changes (greedy local search).

    Args:
        found: Initial result.
        neighbours: Function from a result to those that differ from it in one decision.
        score: Function from a result to its score; larger is better.
        cost: Function from a result to its cost.
        target: Target cost.

    Returns:
        Result within 1 % of the target, otherwise the closest one. In each step, the best score
        decides between changes that reach the target.
    """

    def order(result: Result) -> tuple[float, float]:
        return max(abs(math.log(cost(result) / target)), _TOLERANCE), -score(result)

    best = order(found)
    while best[0] > _TOLERANCE:
        candidates = [(order(other), i, other) for i, other in enumerate(neighbours(found))]
        value, _, other = min(candidates, default=(best, 0, found))
        if value[0] >= best[0]:
            break
        best, found = value, other
    return found


def require_reachable(target: float, least: float, most: float, metric: str) -> None:
    """Check that a target is within the range of reachable costs.

    Raises:
        CostError: The target is outside; the message states the range.
    """
    if not least <= target <= most:
        raise CostError(
            f'target {format_cost(target, metric)} is not reachable; reachable costs are '
            f'{format_cost(least, metric)} to {format_cost(most, metric)}'
        )


def format_cost(value: float, metric: str) -> str:
    """Format a cost with its unit."""
    if metric == 'latency':
        return f'{1e3 * value:.3g} ms'
    for factor, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'K')):
        if value >= factor:
            return f'{value / factor:.4g} {letter} {METRICS[metric]}'
    return f'{value:.4g} {METRICS[metric]}'


def parse_amounts(texts: Iterable[str | float], cost: str | None) -> tuple[tuple[float, ...], str]:
    """Parse targets with optional units, and infer their metric.

    Args:
        texts: Targets, for example ``'1.5G'``, ``'300M'``, ``'40ms'`` or numbers.
        cost: Metric of the targets; None infers latency from units of time, else multiply-adds.

    Returns:
        Values of the targets, and their metric.

    Raises:
        UserError: A target is not a number with a supported unit, or has a unit of another metric.
    """
    amounts: list[float] = []
    units: dict[str, str] = {}
    for text in map(str, texts):
        found = _AMOUNT.fullmatch(text.strip())
        if found is None:
            raise UserError(f"target '{text}': expected a number with a unit (10G, 2.5M, 40ms)")
        number, unit = found.groups()
        amounts.append(float(number) * _UNITS[unit])
        units[unit] = text
    cost = cost or ('latency' if _TIMES & set(units) else 'macs')
    timed = cost == 'latency'
    wrong = [text for unit, text in units.items() if unit and (unit in _TIMES) != timed]
    if wrong:
        raise UserError(
            f"target '{wrong[0]}': the unit does not fit {'time' if timed else METRICS[cost]}; "
            '--cost latency supports ms and s, --cost macs and params support K, M and G'
        )
    return tuple(amounts), cost

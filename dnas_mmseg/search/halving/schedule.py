"""Training lengths that give every candidate equal compute."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.errors import UserError

_MAX_FACTOR = 2.0
"""Largest factor by which a small network trains longer than a typical one. Without a bound, the
smallest would train for many times the epochs of the schedule, at little further gain."""


@dataclass(frozen=True)
class Pace:
    """Training time per tile as a linear function of multiply-adds.

    It is measured once per selection and stored with it, so that the training lengths do not depend
    on the load of a machine.

    Attributes:
        fixed: Seconds per tile of a network without multiply-adds.
        per_mac: Seconds per tile and multiply-add; multiply-adds are those of an image of the
            plan's ``cost_size``.
        typical: Multiply-adds of a typical candidate.
        baselines: Seconds per tile of each baseline, by name; the linear function does not apply
            to other network types.
    """

    fixed: float
    per_mac: float
    typical: float
    baselines: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        macs: Sequence[float],
        seconds: Sequence[float],
        typical: float,
        baselines: Mapping[str, float],
    ) -> Pace:
        """Fit the linear function to measurements by least squares.

        Args:
            macs: Multiply-adds of the networks, (networks,).
            seconds: Seconds per tile of each, (networks,).
            typical: Multiply-adds of a typical candidate.
            baselines: Seconds per tile of each baseline, by name.
        """
        x, y = np.asarray(macs, float), np.asarray(seconds, float)
        spread = ((x - x.mean()) ** 2).sum()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else 0.0
        # Noise must not make the slope or the intercept negative.
        slope = min(max(slope, 0.0), float((y / x).min()))
        fixed = float((y - slope * x).mean())
        return cls(fixed, float(slope), float(typical), dict(baselines))

    def seconds(self, macs: float) -> float:
        """Return the training time per tile of a network with these multiply-adds, in seconds."""
        return self.fixed + self.per_mac * macs

    def epochs(self, seconds: float, full: int, share: float) -> int:
        """Return the epochs that cost as much as a share of a typical full training.

        A network with half the cost per tile trains for twice as many epochs, which is also the
        maximum; a more expensive one trains for fewer. So all trainings of a rung cost the same.

        Args:
            seconds: Training time per tile of the network, in seconds.
            full: Number of epochs of the full schedule.
            share: Share of the full schedule.
        """
        factor = min(self.seconds(self.typical) / seconds, _MAX_FACTOR)
        return max(1, math.floor(full * share * factor + 0.5))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Pace:
        """Read the ``pace.json`` of another selection.

        Raises:
            UserError: The file is missing or invalid.
        """
        try:
            return cls.parse(json.loads(Path(path).read_text(encoding='utf-8')))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{path} is not a pace.json of a selection ({type(error).__name__}: {error})'
            ) from None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Pace:
        """Return the pace of a document of :meth:`to_document`."""
        fixed, per_mac, typical = (float(document[k]) for k in ('fixed', 'per_mac', 'typical'))
        baselines = {str(name): float(value) for name, value in document['baselines'].items()}
        return cls(fixed, per_mac, typical, baselines)

    def to_document(self) -> dict[str, Any]:
        """Return the pace as a JSON object for the queue and ``pace.json``."""
        return asdict(self)


def whole_epochs(rungs: Sequence[float], full: int) -> tuple[float, ...]:
    """Return the rungs rounded to whole epochs, as shares of the full schedule.

    Args:
        rungs: Shares of the full schedule, ascending.
        full: Number of epochs of the full schedule.

    Raises:
        UserError: Two rungs have the same number of epochs.

    Example:
        >>> whole_epochs((1 / 9, 1.0), full=24)
        (0.125, 1.0)
    """
    epochs = [max(1, math.floor(full * share + 0.5)) for share in rungs]
    if any(less >= more for less, more in pairwise(epochs)):
        raise UserError(
            f'rungs {", ".join(f"{rung:.3g}" for rung in rungs)} of {full} epochs are '
            f'{", ".join(map(str, epochs))} epochs: the numbers must increase; use a longer '
            'schedule or other --rungs'
        )
    return tuple(count / full for count in epochs)

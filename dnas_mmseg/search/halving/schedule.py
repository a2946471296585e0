"""Lengths of trainings: equal compute for every network, and schedules that are shortened."""

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
from mmengine.config import Config

from dnas_mmseg.errors import UserError

_MOST = 2.0
"""Factor by which a small network may train longer than a typical one."""

_SCALED = ('begin', 'end', 'T_max', 'total_iters', 'step_size', 'milestones', 'periods')
"""Settings of a schedule that are numbers of epochs or steps."""


@dataclass(frozen=True)
class Pace:
    """Seconds that training on a tile takes, as a line over multiply-adds.

    The line is measured once for a selection and then kept, so that the lengths of trainings do not
    depend on how busy a machine is.

    Attributes:
        fixed: Seconds of a tile of a network without multiply-adds.
        per_mac: Seconds per multiply-add of the network on an image of the cost's size.
        typical: Multiply-adds of a typical candidate.
        baselines: Seconds of each baseline, by its name; other kinds do not follow the line.
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
        """Return the line through measured networks.

        Args:
            macs: Multiply-adds of the networks, (networks,).
            seconds: Seconds that each takes for a tile, (networks,).
            typical: Multiply-adds of a typical candidate.
            baselines: Seconds that each baseline takes for a tile, by its name.
        """
        x, y = np.asarray(macs, float), np.asarray(seconds, float)
        spread = ((x - x.mean()) ** 2).sum()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else 0.0
        # Neither part of the time can be negative, whatever the noise says.
        slope = min(max(slope, 0.0), float((y / x).min()))
        fixed = float((y - slope * x).mean())
        return cls(fixed, float(slope), float(typical), dict(baselines))

    def seconds(self, macs: float) -> float:
        """Return the seconds that training on a tile takes for a network of some multiply-adds."""
        return self.fixed + self.per_mac * macs

    def epochs(self, seconds: float, full: int, share: float) -> int:
        """Return the epochs of a network that cost as much as a share of a typical full training.

        A network of half the cost trains twice as long, and never longer than that; an expensive
        one trains for fewer epochs. So a training of a rung costs the same, whatever it trains.

        Args:
            seconds: Seconds that training on a tile takes for the network.
            full: Number of epochs of the full schedule.
            share: Share of the full schedule.
        """
        factor = min(self.seconds(self.typical) / seconds, _MOST)
        return max(1, math.floor(full * share * factor + 0.5))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Pace:
        """Read the pace of another selection, ``pace.json`` of its work dir.

        Raises:
            UserError: The file is missing, or no pace.
        """
        try:
            return cls.parse(json.loads(Path(path).read_text(encoding='utf-8')))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{path} is no pace.json of a selection ({type(error).__name__}: {error})'
            ) from None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Pace:
        """Return the pace of a document that :meth:`to_document` made."""
        fixed, per_mac, typical = (float(document[k]) for k in ('fixed', 'per_mac', 'typical'))
        baselines = {str(name): float(value) for name, value in document['baselines'].items()}
        return cls(fixed, per_mac, typical, baselines)

    def to_document(self) -> dict[str, Any]:
        """Return the pace as JSON, for the queue and ``pace.json``."""
        return asdict(self)


def whole_epochs(rungs: Sequence[float], full: int) -> tuple[float, ...]:
    """Return rungs as shares of whole epochs, which is what their trainings cost.

    Args:
        rungs: Shares of the full schedule, ascending.
        full: Number of epochs of the full schedule.

    Raises:
        UserError: Two rungs are of as many epochs.
    """
    epochs = [max(1, math.floor(full * share + 0.5)) for share in rungs]
    if any(less >= more for less, more in pairwise(epochs)):
        raise UserError(
            f'rungs {", ".join(f"{rung:.3g}" for rung in rungs)} of {full} epochs are '
            f'{", ".join(map(str, epochs))} epochs: each needs more than the one before; give the '
            'schedule more epochs, or the selection other --rungs'
        )
    return tuple(count / full for count in epochs)


def full_epochs(config: Config) -> int:
    """Return the number of epochs of a config's schedule.

    Raises:
        UserError: The schedule is counted in steps.
    """
    loop = config.get('train_cfg') or {}
    if not loop.get('max_epochs'):
        raise UserError(
            'a selection shortens schedules by epochs, and the config counts its own in steps '
            '(max_iters): give it an EpochBasedTrainLoop, as configs/_base_/schedules has them'
        )
    return loop['max_epochs']


def shorten(config: Config, epochs: int) -> None:
    """Shorten, or stretch, a config's whole schedule; it is validated once, at its end.

    Everything in it keeps its proportion, a warm-up that is counted in steps too.

    Args:
        config: Config that is changed in place.
        epochs: Number of epochs that it is to have.
    """
    factor = epochs / full_epochs(config)
    config.train_cfg.max_epochs = epochs
    config.train_cfg.val_interval = epochs
    config.train_cfg.pop('val_begin', None)
    config.train_cfg.pop('dynamic_intervals', None)
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        for key in _SCALED:
            if scheduler.get(key):
                scheduler[key] = _scaled(scheduler[key], factor)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scaled(item, factor) for item in value]
    return max(1, round(value * factor)) if math.isfinite(value) else value

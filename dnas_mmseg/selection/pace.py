"""Measured time of a training epoch of each candidate, from which its epochs follow."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import CheckpointLoader

from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.engine.length import TrainingTimes, full_epochs, measure_times
from dnas_mmseg.errors import UserError

from .candidates import OWN
from .families import Candidate, ConfigFamily, SpaceFamily
from .lengths import Lengths
from .trainings import CandidateTrainings, breaks_gpu, limited_threads, set_loaders

_VALIDATION_SHARE = 0.1
"""Largest share of a rung's time for validations."""

_VALIDATIONS = 3
"""Largest number of validations per rung; they are the points of the curves."""

_LEAST_ITERATIONS = 400
"""Number of iterations from which a training ranks networks of different families. HRNet is the
last of four networks after 190, and the first after 580 (benchmarks/selection.md)."""

_SAMPLES = 32
"""Number of random networks of a space; the cheapest and the most expensive are timed. They are
only counted, and 32 come close to the extremes."""


@dataclass(frozen=True)
class LinearPace:
    """Seconds as a linear function of multiply-adds: networks of a search space.

    Attributes:
        fixed: Seconds of a network without multiply-adds.
        per_mac: Seconds per multiply-add of an image of the plan's ``cost_size``.
    """

    fixed: float
    per_mac: float

    @classmethod
    def fit(cls, macs: Sequence[float], seconds: Sequence[float]) -> LinearPace:
        """Fit the function to measurements by least squares.

        Args:
            macs: Multiply-adds of the networks, (networks,).
            seconds: Seconds of each, (networks,).
        """
        x, y = np.asarray(macs, float), np.asarray(seconds, float)
        spread = ((x - x.mean()) ** 2).sum()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else 0.0
        # Noise must not make the slope or the intercept negative.
        slope = min(max(slope, 0.0), float((y / x).min()))
        return cls(float((y - slope * x).mean()), float(slope))

    def seconds(self, macs: float) -> float:
        """Return the seconds of a network with these multiply-adds."""
        return self.fixed + self.per_mac * macs


@dataclass
class Pace:
    """Measured times of a selection, stored with it, so that lengths do not depend on the load.

    Attributes:
        spaces: Seconds of an epoch by space, as a function of multiply-adds.
        sampled: Mean seconds of an epoch of the timed networks of each space.
        candidates: Seconds of an epoch of other candidates, by name.
        latencies: Their latencies in seconds, by name, if the plan's costs are latencies.
        validations: Seconds of a validation by family.
        schedule: Seconds of the full schedule of the user's config.
        iterations: Number of iterations of an epoch.
        lengths: Lengths of the trainings.
    """

    spaces: dict[str, LinearPace] = field(default_factory=dict)
    sampled: dict[str, float] = field(default_factory=dict)
    candidates: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    validations: dict[str, float] = field(default_factory=dict)
    schedule: float = 0.0
    iterations: int = 1
    lengths: Lengths | None = None

    def epoch(self, candidate: Candidate, macs: float) -> float:
        """Return the seconds of an epoch of a candidate."""
        if candidate.family in self.spaces:
            return self.spaces[candidate.family].seconds(macs)
        return self.candidates[candidate.name]

    def epochs(self, candidate: Candidate, macs: float, seconds: float) -> int:
        """Return the number of epochs of a candidate in a time, at least one."""
        return max(1, round(seconds / self.epoch(candidate, macs)))

    def rungs(self, candidate: Candidate, macs: float, last: int) -> tuple[list[int], list[int]]:
        """Return the epochs until the end of each rung, and its number of validations.

        Args:
            candidate: The candidate.
            macs: Its multiply-adds.
            last: Index of the last rung to return.
        """
        assert self.lengths is not None
        validation = max(self.validations.get(candidate.family, 0.0), 1e-9)
        epochs: list[int] = []
        validations: list[int] = []
        begun = 0.0
        spent = 0.0  # for validations other than the last one of a rung, which is overhead
        for seconds in self.lengths.seconds[: last + 1]:
            affordable = _VALIDATION_SHARE * (seconds - begun) / validation
            validations.append(int(min(max(affordable, 1), _VALIDATIONS)))
            spent += (validations[-1] - 1) * validation
            begun = seconds
            # Every rung has an epoch of its own.
            least = epochs[-1] + 1 if epochs else 1
            epochs.append(max(least, self.epochs(candidate, macs, seconds - spent)))
        return epochs, validations

    def add(self, trainings: CandidateTrainings, candidate: Candidate) -> TrainingTimes:
        """Time a candidate of a config, and measure its latency if costs are latencies."""
        times = time_candidate(trainings, candidate)
        self.candidates[candidate.name] = times.epoch
        if trainings.plan.cost == 'latency':
            self.latencies[candidate.name] = trainings.candidates.cost(candidate)
            trainings.candidates.latencies[candidate.name] = self.latencies[candidate.name]
        return times

    def typical_epoch(self) -> float:
        """Return the median of the seconds of an epoch over the timed candidates."""
        return float(np.median(list((self.candidates or self.sampled).values())))

    def least_training(self) -> float:
        """Return the seconds of the shortest training of a typical candidate that ranks it."""
        return self.typical_epoch() * _LEAST_ITERATIONS / self.iterations

    def typical_validation(self) -> float:
        """Return the median of the seconds of a validation over families."""
        return float(np.median(list(self.validations.values())))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Pace:
        """Read the ``pace.json`` of another selection.

        Raises:
            UserError: The file is missing or invalid.
        """
        try:
            pace = cls.parse(json.loads(Path(path).read_text(encoding='utf-8')))
            if pace.lengths is None:
                raise ValueError('no lengths')
            return pace
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f'{path} is not a pace.json of a selection ({type(error).__name__}: {error})'
            ) from None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Pace:
        """Return the pace of a document of :meth:`to_document`."""
        return cls(
            {name: LinearPace(**value) for name, value in document['spaces'].items()},
            {name: float(value) for name, value in document.get('sampled', {}).items()},
            {name: float(value) for name, value in document['candidates'].items()},
            {name: float(value) for name, value in document.get('latencies', {}).items()},
            {name: float(value) for name, value in document['validations'].items()},
            float(document['schedule']),
            int(document.get('iterations', 1)),
            Lengths.parse(document['lengths']) if document['lengths'] else None,
        )

    def to_document(self) -> dict[str, Any]:
        """Return the pace as a JSON object."""
        return asdict(self)


def measure_pace(trainings: CandidateTrainings) -> Pace:
    """Time the initial candidates, and a cheap and an expensive network of each space.

    A family whose networks cannot be trained is excluded from the candidates, unless it is that of
    the user's config.

    Args:
        trainings: Trainings of the selection, which provide candidates and configs.
    """
    candidates, pace = trainings.candidates, Pace()
    for family in list(candidates.families.values()):
        try:
            if isinstance(family, SpaceFamily):
                rng = np.random.default_rng(candidates.plan.seed)
                sampled = [family.random(rng) for _ in range(_SAMPLES)]
                affordable = list(filter(candidates.affordable, sampled)) or sampled
                order = sorted(affordable, key=lambda c: candidates.cost_by(c, 'macs'))
                timed = [order[0], order[-1]]
                times = [time_candidate(trainings, candidate) for candidate in timed]
                macs = [candidates.cost_by(candidate, 'macs') for candidate in timed]
                seconds = [each.epoch for each in times]
                pace.spaces[family.name] = LinearPace.fit(macs, seconds)
                pace.sampled[family.name] = float(np.mean(seconds))
            else:
                assert isinstance(family, ConfigFamily)
                times = [pace.add(trainings, family.default)]
        except Exception as error:  # classes of any package may fail in any way
            if len(candidates.families) == 1 or family.name == OWN or breaks_gpu(error):
                raise
            text = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
            warn(f'{family.name} is excluded from the selection: {text}')
            candidates.exclude(family.name, text)
            continue
        pace.validations[family.name] = max(t.validation for t in times)
        pace.iterations = times[0].iterations
    known = next(iter(pace.candidates.values()), None)
    epoch = known if known is not None else pace.typical_epoch()
    pace.schedule = full_epochs(candidates.config) * epoch
    return pace


def time_candidate(trainings: CandidateTrainings, candidate: Candidate) -> TrainingTimes:
    """Time training iterations and validation of a candidate on this machine."""
    config = trainings.with_lists(trainings.candidates.full_config(candidate))
    set_loaders(config)
    if config.get('load_from'):
        CheckpointLoader.load_checkpoint(config.load_from, 'cpu', 'silent')  # raises if missing
    try:
        with limited_threads(trainings.plan.threads):
            return measure_times(config)
    finally:
        if torch.cuda.is_available():  # workers use the same GPU
            gc.collect()
            torch.cuda.empty_cache()

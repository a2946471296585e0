"""Measurement of how long training on a tile takes, from which the lengths of trainings follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.cost.measuring import seconds_of
from dnas_mmseg.search.time import noise_batch
from dnas_mmseg.spaces.architecture import Architecture

from .networks import Baseline, Candidate, SpaceCandidates
from .schedule import Pace
from .training import CandidateTrainings

_DRAWN = 64
"""Candidates of which the typical one is the middle."""

_ROUNDS = 5
"""Steps of each network that are timed, of which the fastest counts. They take turns, so that a
machine which is busy for a moment slows all alike."""


def measure_pace(candidates: SpaceCandidates, trainings: CandidateTrainings) -> Pace:
    """Time training steps of a cheap, a typical and an expensive candidate, and of the baselines.

    Baselines of the same network and tiles, such as a dozen learning rates, are timed once: they
    must train for as many epochs as each other.

    Args:
        candidates: Candidates of the selection.
        trainings: Their trainings.
    """
    rng = np.random.default_rng(candidates.plan.network.seed)
    drawn = [candidates.random(rng) for _ in range(_DRAWN)]
    limit = candidates.plan.limit
    affordable = [c for c in drawn if limit is None or candidates.cost(c) <= limit]
    order = sorted(affordable or drawn, key=lambda c: candidates.cost_by(c, 'macs'))
    timed = [order[0], order[len(order) // 2], order[-1]]
    macs = [candidates.cost_by(candidate, 'macs') for candidate in timed]
    baselines: dict[str, list[Baseline]] = {}
    for baseline in candidates.baselines:
        config = trainings.full_config(baseline)
        baselines.setdefault(repr((config.model, config.train_dataloader)), []).append(baseline)
    threads, device = torch.get_num_threads(), get_device()
    torch.set_num_threads(candidates.plan.threads)
    try:
        measured: list[Candidate] = [*timed, *(alike[0] for alike in baselines.values())]
        steps = [_training_step(trainings, candidate) for candidate in measured]
        rounds = [
            [seconds_of(step, device) / tiles for step, tiles in steps] for _ in range(1 + _ROUNDS)
        ]
    finally:
        torch.set_num_threads(threads)
    seconds = [float(fastest) for fastest in np.min(rounds[1:], axis=0)]  # the first also sets up
    times = zip(baselines.values(), seconds[len(timed) :], strict=True)
    of_baselines = {baseline.name: time for alike, time in times for baseline in alike}
    return Pace.fit(macs, seconds[: len(timed)], macs[1], of_baselines)


def _training_step(
    trainings: CandidateTrainings, candidate: Candidate
) -> tuple[Callable[[], None], int]:
    """Return a step of a candidate's training on noise, and the number of tiles that it takes."""
    config: Config = trainings.full_config(candidate)
    if isinstance(candidate, Architecture):
        config.model.backbone.architecture = candidate
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sample = dataset[0]['inputs']
    bands, size = sample.shape[0], tuple(sample.shape[-2:])
    batch = config.train_dataloader.batch_size
    classes = len(dataset.metainfo['classes'])
    model = revert_sync_batchnorm(MODELS.build(config.model)).to(get_device()).train()
    data = noise_batch(model.data_preprocessor, batch, bands, size, classes)

    def step() -> None:
        loss, _ = model.parse_losses(
            model(**model.data_preprocessor(data, training=True), mode='loss')
        )
        loss.backward()
        model.zero_grad(set_to_none=True)

    return step, batch

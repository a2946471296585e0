"""Measurement of the training time per tile, which determines the epochs of each candidate."""

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

_SAMPLES = 64
"""Number of random candidates; the typical one has their median multiply-adds. They are only
counted, and 64 suffice for a stable median and for candidates near the extremes."""

_ROUNDS = 5
"""Number of timed steps per network; the fastest counts, since interference only slows a step. The
networks alternate, so that a short load of the machine does not hit all steps of one."""


def measure_pace(candidates: SpaceCandidates, trainings: CandidateTrainings) -> Pace:
    """Time training steps of a small, a typical and a large candidate, and of the baselines.

    Baselines that share model and data loader (for example different learning rates of one network)
    are timed once, so that they train for the same number of epochs.

    Args:
        candidates: Candidates of the selection.
        trainings: Trainings of the selection, which provide the configs.
    """
    rng = np.random.default_rng(candidates.plan.network.seed)
    sampled = [candidates.random(rng) for _ in range(_SAMPLES)]
    limit = candidates.plan.limit
    affordable = [c for c in sampled if limit is None or candidates.cost(c) <= limit]
    order = sorted(affordable or sampled, key=lambda c: candidates.cost_by(c, 'macs'))
    timed = [order[0], order[len(order) // 2], order[-1]]
    macs = [candidates.cost_by(candidate, 'macs') for candidate in timed]
    baselines: dict[str, list[Baseline]] = {}
    for baseline in candidates.baselines:
        config = trainings.full_config(baseline)
        baselines.setdefault(repr((config.model, config.train_dataloader)), []).append(baseline)
    threads, device = torch.get_num_threads(), get_device()
    torch.set_num_threads(candidates.plan.threads)
    try:
        measured: list[Candidate] = [*timed, *(group[0] for group in baselines.values())]
        steps = [_training_step(trainings, candidate) for candidate in measured]
        rounds = [
            [seconds_of(step, device) / tiles for step, tiles in steps] for _ in range(1 + _ROUNDS)
        ]
    finally:
        torch.set_num_threads(threads)
    seconds = [float(fastest) for fastest in np.min(rounds[1:], axis=0)]  # the first warms up
    times = zip(baselines.values(), seconds[len(timed) :], strict=True)
    baseline_seconds = {baseline.name: time for group, time in times for baseline in group}
    return Pace.fit(macs, seconds[: len(timed)], macs[1], baseline_seconds)


def _training_step(
    trainings: CandidateTrainings, candidate: Candidate
) -> tuple[Callable[[], None], int]:
    """Return a training step of a candidate on random data, and its batch size."""
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

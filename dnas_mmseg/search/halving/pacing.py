"""Measurement of how long training on a tile takes, from which the lengths of trainings follow."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.cost.measuring import seconds_of
from dnas_mmseg.search.time import noise_batch
from dnas_mmseg.spaces.architecture import Architecture

from .networks import Candidate, SpaceCandidates
from .schedule import Pace
from .training import CandidateTrainings

_DRAWN = 64
"""Candidates of which the typical one is the middle."""

_REPEATS = 3


def measure_pace(candidates: SpaceCandidates, trainings: CandidateTrainings) -> Pace:
    """Time training steps of a cheap, a typical and a dear candidate, and of each rival.

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
    threads = torch.get_num_threads()
    torch.set_num_threads(candidates.plan.threads)
    try:
        seconds = [_seconds_per_tile(trainings, candidate) for candidate in timed]
        rivals = {rival.name: _seconds_per_tile(trainings, rival) for rival in candidates.rivals}
    finally:
        torch.set_num_threads(threads)
    return Pace.fit(macs, seconds, macs[1], rivals)


def _seconds_per_tile(trainings: CandidateTrainings, candidate: Candidate) -> float:
    config: Config = trainings.full_config(candidate)
    if isinstance(candidate, Architecture):
        config.model.backbone.architecture = candidate
    dataset = DATASETS.build(config.train_dataloader.dataset)
    sample = dataset[0]['inputs']
    bands, size = sample.shape[0], tuple(sample.shape[-2:])
    batch = config.train_dataloader.batch_size
    classes = len(dataset.metainfo['classes'])
    model = revert_sync_batchnorm(MODELS.build(config.model)).to(get_device()).train()
    data = noise_batch(batch, bands, size, classes)

    def step() -> None:
        loss, _ = model.parse_losses(
            model(**model.data_preprocessor(data, training=True), mode='loss')
        )
        loss.backward()
        model.zero_grad(set_to_none=True)

    seconds_of(step, get_device())  # the first one also sets up
    return min(seconds_of(step, get_device()) for _ in range(_REPEATS)) / batch

"""Which tiles an epoch sees, and the seeds of the workers that load them.

Both follow from (seed, epoch, rank) alone, so that an epoch can be done again exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Sized

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, FUNCTIONS
from torch.utils.data import Sampler


def derive_seed(*key: int) -> int:
    """A seed of 32 bits from integers, as (seed, epoch, rank); close keys give unlike seeds."""
    return int(np.random.SeedSequence([abs(k) for k in key]).generate_state(1)[0])


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """``worker_init_fn`` that seeds numpy and random as torch seeded this worker for this epoch.

    The stock one seeds every epoch's workers alike, so that they repeat their augmentations.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


@DATA_SAMPLERS.register_module()
class HalfSampler(DefaultSampler):
    """Half A of a data set, shuffled: what trains the weights in a search.

    Args:
        dataset: The whole training set.
        split_seed: Says which half; the same one gives the same halves.
        **kwargs: See :class:`mmengine.dataset.DefaultSampler`.

    Attributes:
        half: The indices of half A, in order; the larger one where the number is odd.
        other_half: Those of half B.
    """

    def __init__(self, dataset: Sized, split_seed: int = 0, **kwargs) -> None:
        order = np.random.default_rng(split_seed).permutation(len(dataset)).tolist()
        middle = (len(order) + 1) // 2
        self.half, self.other_half = sorted(order[:middle]), sorted(order[middle:])
        super().__init__(self.half, **kwargs)

    def __iter__(self) -> Iterator[int]:
        return (self.half[i] for i in super().__iter__())


class StreamSampler(Sampler):
    """The same number of samples every epoch, from one endless shuffled pass after another.

    An epoch goes on where the one before ended, so that all samples are seen equally often
    whatever an epoch's length.

    Args:
        indices: The samples.
        epoch_size: Samples an epoch and process.
        seed: Of the shuffling.
    """

    def __init__(self, indices: Sequence[int], epoch_size: int, seed: int) -> None:
        self.indices, self.epoch_size, self.seed = indices, epoch_size, seed
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __len__(self) -> int:
        return self.epoch_size

    def __iter__(self) -> Iterator[int]:
        total, n = self.epoch_size * self.world_size, len(self.indices)
        first = self.epoch * total
        turn, order = -1, None
        for position in range(first + self.rank, first + total, self.world_size):
            if position // n != turn:
                turn = position // n
                order = np.random.default_rng([self.seed, turn]).permutation(n)
            yield self.indices[order[position % n]]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from the first architecture step's."""
        self.epoch = epoch

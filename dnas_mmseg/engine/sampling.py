"""Order of the tiles in a training, and the random numbers that they are loaded with.

Both follow from the seed, the rank and the epoch or iteration alone, so that an epoch or iteration
can be repeated exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, FUNCTIONS
from torch.utils.data import DataLoader, Dataset, Sampler

from dnas_mmseg.errors import UserError


def derive_seed(*key: int) -> int:
    """Return a seed of 32 bits from integers, such as (seed, epoch, rank); near keys differ."""
    return int(np.random.SeedSequence([abs(k) for k in key]).generate_state(1)[0])


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed numpy and random as torch has seeded this worker for this epoch (``worker_init_fn``).

    The stock one seeds every epoch's workers alike, so that they repeat their augmentations.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


@DATA_SAMPLERS.register_module()
class HalfSampler(DefaultSampler):
    """Half A of a data set, shuffled, on which a search trains the weights.

    Args:
        dataset: Whole training set.
        split_seed: Seed of the split; the same one gives the same halves.
        **kwargs: Arguments of :class:`mmengine.dataset.DefaultSampler`.

    Attributes:
        half: Indices of half A, in order; the larger half where the number is odd.
        other_half: Indices of half B, in order.
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
        indices: Indices of the samples.
        epoch_size: Number of samples in an epoch of a process.
        seed: Seed of the shuffling.
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
        turn, order = -1, np.empty(0, np.int64)
        for position in range(first + self.rank, first + total, self.world_size):
            if position // n != turn:
                turn = position // n
                order = np.random.default_rng([self.seed, turn]).permutation(n)
            yield self.indices[order[position % n]]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from that of the first architecture step."""
        self.epoch = epoch


class SeededDataset(Dataset):
    """A data set whose samples are each loaded with random numbers of their own.

    Args:
        dataset: Data set that the samples are of.
    """

    def __init__(self, dataset: Dataset | Sequence) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Any:
        """Load a sample.

        Args:
            key: Index and seed of the sample.
        """
        index, seed = key
        random.seed(seed)
        np.random.seed(seed)
        # Not torch.manual_seed: samples are made on the CPU, also where there are GPUs.
        torch.default_generator.manual_seed(seed)
        return self.dataset[index]


class SeededBatches:
    """Endless batches of (index, seed), from any place of the endless stream.

    A seed follows from the run's seed, the iteration, the rank and the place in the batch. A sample
    is the same, whichever worker loads it and in whatever order.

    Args:
        batches: Batches of indices, one pass or endless; a single pass is iterated over again.
        sampler: Sampler of the indices; it shuffles by the number of the pass.
        seed: Seed of the run.
        rank: Rank of this process.
        start: Number of the first iteration.
    """

    def __init__(
        self, batches: Iterable[Sequence[int]], sampler: Sampler, seed: int, rank: int, start: int
    ) -> None:
        self.batches, self.sampler = batches, sampler
        self.seed, self.rank, self.start = seed, rank, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for iteration, batch in enumerate(islice(self._stream(), self.start, None), self.start):
            # Counted from 1: to a SeedSequence zeros at the end are none.
            yield [
                (index, derive_seed(self.seed, iteration, self.rank, place))
                for place, index in enumerate(batch, 1)
            ]

    def _stream(self) -> Iterator[Sequence[int]]:
        for turn in count():
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(turn)
            batch = None
            for batch in self.batches:
                yield batch
            if batch is None:
                raise UserError('the train loader has no batch: fewer samples than a batch takes')


def get_sampler(loader: DataLoader) -> Sampler:
    """Return the sampler of a loader, also where a batch sampler is over it."""
    sampler: Any = loader.sampler
    return getattr(loader.batch_sampler, 'sampler', sampler)


def make_seeded_loader(loader: DataLoader, seed: int, rank: int, start: int) -> DataLoader:
    """Return a loader of the same samples that begins at an iteration and never ends.

    Args:
        loader: Loader of a map-style data set, in batches. Its sampler is at its beginning.
        seed: Seed of the run.
        rank: Rank of this process.
        start: Number of the first iteration.
    """
    assert loader.batch_sampler is not None
    return DataLoader(
        SeededDataset(loader.dataset),
        batch_sampler=SeededBatches(loader.batch_sampler, get_sampler(loader), seed, rank, start),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
    )

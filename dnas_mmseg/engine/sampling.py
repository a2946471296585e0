"""Deterministic samplers and loaders.

The order of the tiles and the random numbers of their augmentations depend only on the seed, the
rank and the epoch or iteration, so that an epoch or iteration can be repeated exactly.
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
    """Derive a 32-bit seed from integers, such as (seed, epoch, rank).

    Similar keys yield independent seeds (:class:`numpy.random.SeedSequence`).
    """
    return int(np.random.SeedSequence([abs(k) for k in key]).generate_state(1)[0])


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed numpy and random from torch's seed of this worker and epoch (``worker_init_fn``).

    mmengine's function uses the same seeds in every epoch, which repeats the augmentations.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


@DATA_SAMPLERS.register_module()
class HalfSampler(DefaultSampler):
    """Sample half A of a data set, on which a gradient search trains the weights.

    Args:
        dataset: Whole training set.
        split_seed: Seed of the random split into halves.
        **kwargs: Arguments of :class:`mmengine.dataset.DefaultSampler`.

    Attributes:
        half: Sorted indices of half A; the larger half of an odd number of samples.
        other_half: Sorted indices of half B.
    """

    def __init__(self, dataset: Sized, split_seed: int = 0, **kwargs) -> None:
        order = np.random.default_rng(split_seed).permutation(len(dataset)).tolist()
        middle = (len(order) + 1) // 2
        self.half, self.other_half = sorted(order[:middle]), sorted(order[middle:])
        super().__init__(self.half, **kwargs)

    def __iter__(self) -> Iterator[int]:
        return (self.half[i] for i in super().__iter__())


class StreamSampler(Sampler):
    """Sample a fixed number per epoch from an endless sequence of shuffled passes.

    Each epoch continues where the previous one ended, so that all samples occur equally often
    regardless of the epoch length.

    Args:
        indices: Indices of the samples.
        epoch_size: Number of samples per epoch and process.
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
        shuffled_pass, order = -1, np.empty(0, np.int64)
        for position in range(first + self.rank, first + total, self.world_size):
            if position // n != shuffled_pass:
                shuffled_pass = position // n
                order = np.random.default_rng([self.seed, shuffled_pass]).permutation(n)
            yield self.indices[order[position % n]]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from the first epoch with architecture steps."""
        self.epoch = epoch


class SeededDataset(Dataset):
    """Data set that seeds the random generators before it loads a sample.

    Args:
        dataset: Data set to load the samples from.
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
        # Not torch.manual_seed, which also seeds GPUs: samples are loaded on the CPU.
        torch.default_generator.manual_seed(seed)
        return self.dataset[index]


class SeededBatches:
    """Endless batches of (index, seed) that start at any iteration.

    A seed depends on the run's seed, the iteration, the rank and the position in the batch, but not
    on the worker that loads the sample.

    Args:
        batches: Batches of indices, of one pass or endless; a single pass is repeated.
        sampler: Sampler of the indices; its epoch is set to the number of the pass.
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
            # Counted from 1: a SeedSequence ignores trailing zeros.
            yield [
                (index, derive_seed(self.seed, iteration, self.rank, position))
                for position, index in enumerate(batch, 1)
            ]

    def _stream(self) -> Iterator[Sequence[int]]:
        for epoch in count():
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(epoch)
            batch = None
            for batch in self.batches:
                yield batch
            if batch is None:
                raise UserError(
                    'the train loader yields no batch: the data set is smaller than the batch size'
                )


def get_sampler(loader: DataLoader) -> Sampler:
    """Return the sampler of a loader, or the one that its batch sampler wraps."""
    sampler: Any = loader.sampler
    return getattr(loader.batch_sampler, 'sampler', sampler)


def make_seeded_loader(loader: DataLoader, seed: int, rank: int, start: int) -> DataLoader:
    """Make an endless loader of the same samples that starts at an iteration.

    Args:
        loader: Loader of a map-style data set, in batches, with its sampler in the initial state.
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

import random
from collections import Counter

import numpy as np
import pytest
import torch

from dnas_mmseg.engine.sampling import HalfSampler, StreamSampler, derive_seed, seed_worker


def test_halves_are_disjoint_and_fixed():
    dataset = range(11)
    sampler = HalfSampler(dataset, seed=1)
    assert sorted(sampler.half + sampler.other_half) == list(dataset)
    assert (len(sampler.half), len(sampler.other_half)) == (6, 5)
    assert HalfSampler(dataset, seed=2).half == sampler.half
    assert HalfSampler(dataset, split_seed=1, seed=1).half != sampler.half


def test_half_a_is_shuffled_every_epoch():
    sampler = HalfSampler(range(40), seed=1)
    first = list(sampler)
    assert sorted(first) == sampler.half != first
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert sorted(sampler) == sampler.half
    assert list(sampler) != first


@pytest.mark.parametrize(('count', 'epoch_size'), [(10, 10), (10, 4), (10, 25), (3, 8)])
def test_the_stream_yields_all_samples_equally_often(count, epoch_size):
    indices = list(range(100, 100 + count))
    sampler = StreamSampler(indices, epoch_size, seed=3)
    stream = []
    for epoch in range(12):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler) == epoch_size
        stream += list(sampler)
    for start in range(0, len(stream) - count, count):
        assert sorted(stream[start : start + count]) == indices
    counts = Counter(stream)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_ranks_share_the_stream():
    whole = StreamSampler(list(range(20)), 8, seed=0)
    parts = []
    for rank in range(2):
        part = StreamSampler(list(range(20)), 4, seed=0)
        part.rank, part.world_size = rank, 2
        part.set_epoch(3)
        parts.append(list(part))
    whole.set_epoch(3)
    assert [i for pair in zip(*parts, strict=True) for i in pair] == list(whole)


def test_derived_seeds_differ():
    seeds = {derive_seed(s, e, r) for s in range(5) for e in range(5) for r in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_worker_seeds_derive_from_torch():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seed_worker(0)
        draws.append((random.random(), np.random.rand()))
    assert draws[0] == draws[1] != draws[2]

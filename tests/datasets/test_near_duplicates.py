"""Near-duplicates by a perceptual hash."""

from pathlib import Path

import numpy as np
import pytest

from dnas_mmseg.datasets.near_duplicates import (
    MAX_DISTANCE,
    difference_hash,
    find_near_duplicates,
)
from dnas_mmseg.raster import read_raster


def distance(one, other):
    return (one ^ other).bit_count()


def texture(rng, size=64):
    """Return an image with structures of several cells, uint8 (4, size, size)."""
    coarse = rng.integers(20, 220, (4, 10, 11))
    return np.kron(coarse, np.ones((8, 8)))[:, :size, :size].astype(np.uint8)


def test_bits_are_steps_between_cells():
    image = np.kron([[0, 1, 0, 1, 0, 1, 0, 1, 0]] * 8, np.ones((4, 5)))[None]
    assert difference_hash(image) == int('10' * 32, 2)
    assert difference_hash(image[:, :, ::-1]) == int('10' * 32, 2)
    assert difference_hash(-image) == int('01' * 32, 2)


def test_the_hash_ignores_brightness_noise_and_gaps(rng):
    for _ in range(20):
        image = texture(rng)
        found = difference_hash(image)
        assert distance(found, difference_hash(image // 2 + 30)) <= MAX_DISTANCE
        noisy = image + rng.normal(0, 3, image.shape)
        assert distance(found, difference_hash(noisy)) <= MAX_DISTANCE
        invalid = np.zeros(image.shape[1:], bool)
        invalid[3, :7] = True
        broken = image.astype(float)
        broken[:, invalid] = np.nan
        assert distance(found, difference_hash(broken, invalid)) <= MAX_DISTANCE
        assert distance(found, difference_hash(texture(rng))) > 10
        assert distance(found, difference_hash(image[:, ::-1])) > 10


def test_constant_images_have_no_hash(rng):
    image = np.full((3, 50, 47), 0.1, np.float32)
    assert difference_hash(image) is None
    image[:, :10] = rng.random((3, 10, 47))
    assert difference_hash(image) is None
    assert difference_hash(rng.random((3, 50, 47)), np.ones((50, 47), bool)) is None
    assert difference_hash(rng.random((3, 7, 47))) is None


def test_near_duplicates_are_those_of_a_full_comparison(rng):
    base = [int(value) for value in rng.integers(0, 2**63, 59)]
    tiles = []
    for i in range(400):
        value = base[i % 59]
        for bit in rng.integers(0, 64, rng.integers(0, 5)):
            value ^= 1 << int(bit)
        tiles.append((('train', 'val', 'test')[i % 3], value))
    first = {}
    for i, tile in enumerate(tiles):
        first.setdefault(tile, i)
    kept = sorted(first.values())
    expected = {
        (a, b, distance(tiles[a][1], tiles[b][1]))
        for a in kept
        for b in kept
        if a < b
        and tiles[a][0] != tiles[b][0]
        and distance(tiles[a][1], tiles[b][1]) <= MAX_DISTANCE
    }
    found = find_near_duplicates(tiles)
    assert len(expected) > 100
    assert set(map(tuple, found)) == expected
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


def test_equal_tiles_within_a_split_do_not_multiply():
    tiles = [('train', 5)] * 500 + [('val', 5)] * 500 + [('val', None)]
    assert [tuple(pair) for pair in find_near_duplicates(tiles)] == [(0, 500, 0)]
    assert find_near_duplicates([('train', 5), ('train', 4), ('val', None)]) == []


@pytest.mark.parametrize('name', ['naip_rgbn', 'deepglobe_rgb'])
def test_real_tiles_are_not_similar_but_changed_copies_are(shared, name, rng):
    folder = shared / 'data' / name
    tiles = []
    for split in ('train', 'val'):
        lines = (folder / f'{split}.txt').read_text().splitlines()[:40]
        images = [read_raster(Path(folder, line.split('\t')[0])) for line in lines]
        tiles += [(split, difference_hash(image)) for image in images]
    assert find_near_duplicates(tiles) == []
    copies = [
        ('test', difference_hash(image * 0.8 + rng.normal(9, 4, image.shape))) for image in images
    ]
    found = find_near_duplicates(tiles + copies)
    assert {(pair.first, pair.second) for pair in found} == {(i, i + 40) for i in range(40, 80)}

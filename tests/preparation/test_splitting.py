"""Splits that keep neighbours together and balance the classes."""

from itertools import pairwise

import numpy as np
import pytest
from osgeo import osr

from dnas_mmseg.datasets import DatasetError, LabelEncoding
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.preparation.splitting import (
    assign_groups,
    group_by_blocks,
    locate,
    measure_distances,
    split_scenes,
    split_within_scenes,
)
from dnas_mmseg.raster import GeoReference, write_raster

from ..raster.test_vectors import UTM

LABELS = LabelEncoding('train_id', 2)


def test_each_part_has_its_share_of_every_class(rng):
    counts = rng.integers(0, 100, (60, 4)) * (rng.random((60, 4)) < 0.4)
    parts = np.array(assign_groups(counts, (6, 2, 2)))
    shares = np.array([counts[parts == part].sum(0) for part in range(3)]) / counts.sum(0)
    np.testing.assert_allclose(shares, [[0.6] * 4, [0.2] * 4, [0.2] * 4], atol=0.05)
    assert assign_groups(counts, (6, 2, 2)) == parts.tolist()
    assert assign_groups(counts, (6, 2, 2), seed=1) != parts.tolist()


def test_every_part_has_a_group():
    assert sorted(assign_groups(np.array([[100], [1], [1]]), (6, 2, 2))) == [0, 1, 2]
    assert sorted(set(assign_groups(np.ones((9, 1)), (1, 0, 1)))) == [0, 2]
    assert sorted(assign_groups(np.zeros((3, 2)), (1, 1, 1))) == [0, 1, 2]


@pytest.mark.parametrize(
    ('groups', 'shares', 'message'),
    [
        (2, (6, 2, 2), '2 groups cannot be split into 3 parts'),
        (5, (6, -1, 2), 'none negative and a positive one for train'),
        (5, (0, 1, 1), 'none negative and a positive one for train'),
    ],
)
def test_impossible_splits(groups, shares, message):
    with pytest.raises(DatasetError, match=message):
        assign_groups(np.ones((groups, 1)), shares)


def reference(column, row):
    transform = (500000 + 100.0 * column, 1.0, 0.0, 5400000 - 100.0 * row, 0.0, -1.0)
    return GeoReference(crs=UTM.ExportToWkt(), transform=transform)


def test_footprints_in_metres():
    size = (100, 100)
    found = locate([(reference(0, 0), size), (reference(3, 0), size)])
    np.testing.assert_allclose(found.boxes[:, 2:] - found.boxes[:, :2], 100)
    first, second = (found.select(np.array([i])) for i in range(2))
    distances, overlaps = measure_distances(first, second)
    np.testing.assert_allclose(distances, 200)
    assert not overlaps.any()
    for shift, expected in ((0.99, True), (1.0, False), (1.01, False)):
        near = locate([(reference(0, 0), size), (reference(shift, 0.5), size)])
        first, second = (near.select(np.array([i])) for i in range(2))
        assert measure_distances(first, second)[1].tolist() == [expected]
    assert locate([(GeoReference(), size)]) is None


def test_footprints_in_several_systems():
    other = osr.SpatialReference()
    other.ImportFromEPSG(3857)
    found = locate(
        [
            (reference(0, 0), (100, 100)),
            (GeoReference(crs=other.ExportToWkt(), transform=(1e6, 1, 0, 6e6, 0, -1)), (100, 100)),
        ]
    )
    np.testing.assert_allclose(found.boxes[0, 2:] - found.boxes[0, :2], 100, rtol=0.02)


def test_small_tiles_inside_a_large_one_are_found():
    places = [(reference(i / 10, 4.6), (8, 8)) for i in range(10)]
    found = locate([(reference(0, 0), (1000, 1000)), *places])
    _, overlaps = measure_distances(found.select(np.array([0])), found.select(np.arange(1, 11)))
    assert overlaps.tolist() == [True]


def test_blocks_of_the_ground():
    boxes = locate([(reference(i, j), (100, 100)) for j in range(20) for i in range(20)])
    blocks, side = group_by_blocks(boxes)
    assert 20 <= len(set(blocks)) <= 40
    assert 300 <= side < 500
    few = locate([(reference(i, j), (100, 100)) for j in range(6) for i in range(6)])
    assert group_by_blocks(few)[1] > 300 / 1.25
    four, _ = group_by_blocks(boxes, side=960)
    assert sorted(four.count(block) for block in set(four)) == [100, 100, 100, 100]
    with pytest.raises(DatasetError, match='expected metres above 0'):
        group_by_blocks(boxes, side=0)


def scene(folder, label, name='a'):
    write_raster(folder / f'{name}.tif', np.ones((1, *label.shape), np.uint8))
    write_raster(folder / f'{name}.png', label.astype(np.uint8))
    return Scene(name, folder / f'{name}.tif', folder / f'{name}.png')


def test_strips_of_a_scene(tmp_path):
    label = np.zeros((200, 100))
    label[:, 50:] = 1  # strips of rows have both classes, strips of columns one
    parts = split_within_scenes([scene(tmp_path, label)], LABELS, (6, 2, 2), size=20, gap=10)
    regions = {name: part[0].region for name, part in parts.items()}
    assert {(r.col_off, r.width) for r in regions.values()} == {(0, 100)}
    edges = sorted((r.row_off, r.row_off + r.height) for r in regions.values())
    assert edges[0][0] == 0
    assert edges[-1][1] == 200
    assert [b[0] - a[1] for a, b in pairwise(edges)] == [10, 10]
    np.testing.assert_allclose(
        [regions[n].height for n in ('train', 'val', 'test')], [116, 33, 36], atol=6
    )


def test_strips_have_their_share_of_the_labelled_pixels(tmp_path):
    label = np.full((100, 400), 255)
    label[:, 200:] = 0
    parts = split_within_scenes([scene(tmp_path, label)], LABELS, (1, 1, 0), size=10, gap=0)
    assert {r.region.width for part in parts.values() for r in part} in ({300, 100}, {400})
    assert parts['test'] == []


def test_scenes_that_are_too_small_or_unlabelled(tmp_path):
    small = scene(tmp_path, np.zeros((100, 100)))
    with pytest.raises(
        DatasetError, match=r'3 strips of at least 40 .*, which require 160: use --tile-size 25'
    ):
        split_within_scenes([small], LABELS, (6, 2, 2), size=40, gap=20)
    empty = scene(tmp_path, np.full((100, 100), 255), 'b')
    with pytest.raises(DatasetError, match=r'b\.png: no labelled pixel'):
        split_within_scenes([empty], LABELS, (6, 2, 2), size=10, gap=0)


def test_scenes_are_divided_if_they_are_too_few(tmp_path):
    scenes = [scene(tmp_path, np.zeros((100, 100)), name) for name in 'abc']
    for value, one in enumerate(scenes):
        write_raster(one.image, np.full((1, 100, 100), value, np.uint8))
    whole, how = split_scenes(scenes, {}, labels=LABELS, size=10, gap=5)
    assert how == 'by scene'
    assert [len(part) for part in whole.values()] == [1, 1, 1]
    parts, how = split_scenes(scenes[:2], {}, labels=LABELS, size=10, gap=5)
    assert how == 'within scenes, by strips with a gap of 5 pixels'
    assert [len(part) for part in parts.values()] == [2, 2, 2]
    (tmp_path / 'train.txt').write_text('a\nb\n')
    listed, how = split_scenes(
        scenes[:2], {'train': tmp_path / 'train.txt', 'val': None}, labels=LABELS, size=10, gap=5
    )
    assert how == 'by scene, from lists'
    assert [len(part) for part in listed.values()] == [2, 0, 0]
    lists = {'train': tmp_path / 'train.txt'}
    with pytest.raises(DatasetError, match='--within-scenes does not apply: the lists split the'):
        split_scenes(scenes[:2], lists, within=True, labels=LABELS, size=10, gap=5)


def test_scenes_of_the_same_ground_stay_together(tmp_path):
    scenes = []
    for i, column in enumerate((0, 0.5, 3, 6, 9)):
        one = scene(tmp_path, np.zeros((100, 100)), f's{i}')
        write_raster(
            one.image, np.full((1, 100, 100), i, np.uint8), georeference=reference(column, 0)
        )
        scenes.append(one)
    for seed in range(5):
        parts, how = split_scenes(scenes, {}, seed=seed, labels=LABELS, size=10, gap=5)
        assert any({'s0', 's1'} <= {s.name for s in part} for part in parts.values())
        assert how == 'by scene, together where they show the same ground (s0, s1)'
    with pytest.raises(DatasetError, match=r's0\.tif and .*s1\.tif show the same ground'):
        split_scenes(scenes[:3], {}, labels=LABELS, size=10, gap=5)
    with pytest.raises(DatasetError, match='strips of one would be training data for the other'):
        split_scenes(scenes[:2], {}, labels=LABELS, size=10, gap=5)


def test_copies_of_a_scene_stay_together(tmp_path):
    scenes = [scene(tmp_path, np.zeros((100, 100)), name) for name in 'abcd']
    for value, one in enumerate(scenes[1:]):
        write_raster(one.image, np.full((1, 100, 100), value, np.uint8))
    _, how = split_scenes(scenes, {}, labels=LABELS, size=10, gap=5)
    assert how == 'by scene, together where they show the same ground (a, c)'

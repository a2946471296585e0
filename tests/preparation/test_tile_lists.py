"""List files of tiles, and what pairs of images and labels contain."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError, LabelEncoding
from dnas_mmseg.preparation.pairs import find_pairs, read_contents
from dnas_mmseg.preparation.tile_lists import remove_folds, split_folds, split_tiles, write_lists
from dnas_mmseg.raster import write_raster

from .test_splitting import reference


@pytest.fixture
def tiles(tmp_path, rng):
    """Content of 6 x 8 georeferenced tiles of 100 x 100 pixels named by scene, row and column."""
    for row in range(6):
        for column in range(8):
            name = f's{column // 2}_{100 * row}_{100 * column}'
            write_raster(
                tmp_path / f'images/{name}.tif', np.ones((2, 100, 100), np.uint8),
                georeference=reference(column, row), names=('red', 'nir'),
            )  # fmt: skip
            label = np.full((100, 100), 3, np.uint8)
            label[: 10 * row + 5] = 7
            label[0] = 255
            write_raster(tmp_path / f'labels/{name}.png', label)
    return read_contents(find_pairs(tmp_path, 'images', 'labels'))


def test_content_of_a_pair(tmp_path, tiles):
    first = tiles[0]
    assert (first.name, first.shape, first.dtype, first.bands) == (
        's0_0_0', (100, 100), 'uint8', ('red', 'nir'),
    )  # fmt: skip
    assert first.values == Counter({3: 9500, 7: 400, 255: 100})
    assert first.is_aligned
    pairs = find_pairs(tmp_path, 'images/*.tif', 'labels/{name}.png')
    (counted, *_) = read_contents(pairs[:3], read_up_to=100, workers=2)
    assert counted.pixels == 10000
    assert counted.totals.tolist() == counted.squares.tolist() == [10000, 10000]


@pytest.mark.parametrize('read_up_to', [None, 100])
def test_pixels_that_are_invalid_in_the_image_are_not_counted(tmp_path, read_up_to):
    samples = np.ones((2, 100, 100), np.uint8)
    samples[:, :30] = 0
    write_raster(tmp_path / 'images/a.tif', samples, nodata=0)
    label = np.full((100, 100), 2, np.uint8)
    label[:25], label[25:50] = 7, 3
    write_raster(tmp_path / 'labels/a.png', label)
    (content,) = read_contents(find_pairs(tmp_path, 'images', 'labels'), read_up_to=read_up_to)
    assert content.values == {2: 5000, 3: 2000, 7: 0}  # 7 is stored, too
    labels = LabelEncoding('values', 3, values=((2, 0), (3, 1), (7, 2)))
    split = split_tiles([content], (1, 0, 0), labels=labels, names=('a', 'b', 'c'))
    assert split.pixels[0].tolist() == [5000, 2000, 0]
    assert split.notes[-1] == 'train has no pixel of c'


def test_pairs_without_partner_are_named(tmp_path, tiles):
    (tmp_path / 'images/s0_0_0.tif').unlink()
    with pytest.raises(DatasetError, match=r'labels/s0_0_0\.png: label without image$'):
        find_pairs(tmp_path, 'images', 'labels')
    (tmp_path / 'labels/s0_0_0.png').unlink()
    (tmp_path / 'labels/s0_100_0.png').unlink()
    with pytest.raises(
        DatasetError, match=r'labels/s0_100_0\.\*: no such label, for .*s0_100_0\.tif'
    ):
        find_pairs(tmp_path, 'images', 'labels')


def test_labels_of_colours_and_images_as_labels(tmp_path, rng):
    write_raster(tmp_path / 'images/a.tif', np.ones((1, 90, 90), np.uint8))
    colours = np.zeros((3, 90, 90), np.uint8)
    colours[0, :9] = 200
    write_raster(tmp_path / 'labels/a.tif', colours)
    (content,) = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    assert content.values == Counter({(0, 0, 0): 81 * 90, (200, 0, 0): 810})
    write_raster(tmp_path / 'labels/a.tif', rng.integers(0, 60000, (90, 90)).astype(np.uint16))
    with pytest.raises(
        DatasetError, match=r'a\.tif: more than 4096 different values: expected a l'
    ):
        read_contents(find_pairs(tmp_path, 'images', 'labels'))


def test_paletted_labels_are_counted_by_their_colours(tmp_path):
    red, green = (255, 0, 0), (0, 255, 0)
    for number in range(6):
        write_raster(tmp_path / f'images/t{number}.tif', np.ones((1, 30, 30), np.uint8))
        label = np.full((30, 30), number % 2, np.uint8)  # all red
        label[:3] = 1 - number % 2
        palette = (green, red) if number % 2 else (red, green)
        write_raster(tmp_path / f'labels/t{number}.png', label, palette=palette)
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    labels = LabelEncoding('rgb', 2, (red, green))
    split = split_tiles(tiles, by='random', labels=labels, names=('red', 'green'))
    assert split.pixels.sum(0).tolist() == [6 * 27 * 30, 6 * 90]
    assert split_tiles(tiles, by='random').pixels.sum(0).tolist() == [6 * 90, 6 * 27 * 30]


def test_scenes_stay_together_by_default(tiles):
    split = split_tiles(tiles)
    assert split.method == 'by scene (4)'
    scenes = [{t.name.split('_')[0] for t in part} for part in split.parts.values()]
    assert [len(part) for part in scenes] == [2, 1, 1]
    assert len(set.union(*scenes)) == 4
    assert split.classes == ('3', '7', '255')
    assert split.distance == pytest.approx(0, abs=5)


def test_classes_of_a_known_encoding(tiles):
    labels = LabelEncoding('values', 2, values=((3, 0), (7, 1), (255, 255)))
    split = split_tiles(tiles, labels=labels, names=('low', 'high'))
    assert split.classes == ('low', 'high')
    np.testing.assert_allclose(split.pixels.sum(), 48 * 9900)
    np.testing.assert_allclose(split.shares.sum(0), 1)


def test_blocks_with_a_gap(tiles):
    split = split_tiles(tiles, by='blocks', gap=90, block_size=350)
    assert split.method.startswith('by ')
    assert split.distance >= 90
    assert 'overlap tiles of later parts or are nearer than 90 m to them' in split.notes[0]
    with pytest.raises(DatasetError, match='Use a smaller --gap or a larger --block-size'):
        split_tiles(tiles, by='blocks', gap=5000)


def test_dates_in_names_are_no_scenes(tmp_path):
    for date in ('20210501', '20210715', '20210930'):
        for row in range(4):
            for column in range(4):
                name = f'{date}_{row}_{column}'
                write_raster(
                    tmp_path / f'images/{name}.tif', np.ones((1, 9, 9), np.uint8),
                    georeference=reference(9 * column / 100, 9 * row / 100),
                )  # fmt: skip
                label = np.arange(81).reshape(9, 9) % 2
                write_raster(tmp_path / f'labels/{name}.png', label.astype(np.uint8))
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    split = split_tiles(tiles)
    assert 'blocks of' in split.method
    assert split.notes[0].startswith('the scenes in the names of the tiles (20210501, ...) show')
    places = [{t.name.partition('_')[2] for t in part} for part in split.parts.values()]
    assert sum(map(len, places)) == len(set.union(*places)) == 16
    with pytest.raises(DatasetError, match=r'they overlap tiles of later parts\. Use --by blocks'):
        split_tiles(tiles, by='scene')


def test_random_splits_of_neighbours_are_warned_of(tiles):
    split = split_tiles(tiles, by='random')
    assert [len(part) for part in split.parts.values()] == [29, 10, 9]
    assert any('training and test tiles touch' in n for n in split.notes)
    assert split.notes[-1].endswith('split again by dnas split --by blocks --overwrite')


def test_groups_of_a_table(tmp_path, tiles):
    rows = [f'{t.name}.tif,{"north" if "_0_" in t.name else t.name[:2]}\n' for t in tiles]
    (tmp_path / 'groups.csv').write_text('tile,region\n' + ''.join(rows))
    split = split_tiles(tiles, by=f'csv:{tmp_path}/groups.csv:region')
    assert split.method == 'by region of a table'
    holders = [n for n, part in split.parts.items() if any('_0_' in t.name for t in part)]
    assert len(holders) == 1
    with pytest.raises(DatasetError, match=r"no column 'zone'; columns: tile, region"):
        split_tiles(tiles, by=f'csv:{tmp_path}/groups.csv:zone')
    (tmp_path / 'groups.csv').write_text('tile,region\n' + ''.join(rows[1:]))
    with pytest.raises(DatasetError, match=r"no row for 1 tiles, such as 's0_0_0'"):
        split_tiles(tiles, by=f'csv:{tmp_path}/groups.csv:region')


def test_methods_that_do_not_exist(tiles):
    with pytest.raises(DatasetError, match="--by 'area': choose scene, blocks, random, or csv"):
        split_tiles(tiles, by='area')


def test_tiles_without_scenes_or_georeferences(tmp_path):
    for name in 'abcde':
        write_raster(tmp_path / f'images/{name}.tif', np.ones((1, 9, 9), np.uint8))
        write_raster(tmp_path / f'labels/{name}.png', np.ones((9, 9), np.uint8))
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    split = split_tiles(tiles)
    assert split.method == 'random'
    assert 'have neither scenes in their names' in split.notes[0]
    for by, message in (('scene', 'no scene in its name'), ('blocks', 'has no georeference')):
        with pytest.raises(DatasetError, match=message):
            split_tiles(tiles, by=by)


@pytest.mark.parametrize(
    ('content', 'by', 'message'),
    [
        (
            'name,region\na,Süd\n'.encode('latin-1'),
            'csv:{}:region',
            r't\.csv is no CSV table in UTF-8',
        ),
        (b'name,region\na,' + b'x' * 200_000, 'csv:{}:region', r't\.csv is no CSV table in UTF-8'),
        (b'name,region\n', 'csv:{}', 'expected csv:FILE:COLUMN'),
        (b'name,region\n', 'csv:{}:', 'expected csv:FILE:COLUMN'),
    ],
    ids=['not UTF-8', 'field too long', 'no column', 'empty column'],
)
def test_unusable_tables_are_named(tmp_path, tiles, content, by, message):
    (tmp_path / 't.csv').write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        split_tiles(tiles, by=by.format(tmp_path / 't.csv'))


def test_folds_test_each_tile_once(tiles):
    folds = split_folds(tiles, 4, by='scene')
    tested = Counter(t.name for fold in folds for t in fold.parts['test'])
    assert set(tested.values()) == {1}
    assert len(tested) == 48
    for fold in folds:
        names = [{t.name for t in part} for part in fold.parts.values()]
        assert not names[0] & names[1]
        assert sum(map(len, names)) == 48
    with pytest.raises(DatasetError, match='2 folds: expected at least 3'):
        split_folds(tiles, 2)


def test_lists_are_relative_and_never_replaced_unasked(tmp_path, tiles):
    split = split_tiles(tiles)
    write_lists(split.parts, tmp_path)
    lines = (tmp_path / 'train.txt').read_text().splitlines()
    assert len(lines) == len(split.parts['train'])
    image, label = lines[0].split('\t')
    assert (tmp_path / image).is_file()
    assert label == image.replace('images', 'labels').replace('.tif', '.png')
    with pytest.raises(DatasetError, match=r'train\.txt exists: add --overwrite'):
        write_lists(split.parts, tmp_path)
    write_lists({'train': tiles[:2]}, tmp_path, overwrite=True)
    assert len((tmp_path / 'train.txt').read_text().splitlines()) == 2


def test_lists_behind_links_name_existing_files(tmp_path, tiles):
    (tmp_path / 'disk/deep/data').mkdir(parents=True)
    root = tmp_path / 'data'
    root.symlink_to('disk/deep/data')
    (tmp_path / 'linked').symlink_to('images')
    linked = replace(tiles[1], image=str(tmp_path / 'linked/s0_0_100.tif'))
    (root / 'images').symlink_to(tmp_path / 'images')
    below = replace(tiles[2], image=str(root / 'images/s1_0_200.tif'))
    write_lists({'train': [tiles[0], linked, below]}, root)
    pairs = [line.split('\t') for line in (root / 'train.txt').read_text().splitlines()]
    assert all((root / path).is_file() for pair in pairs for path in pair)
    assert pairs[2][0] == 'images/s1_0_200.tif'


def test_land_cover_of_the_shared_folder_by_scene(shared, tmp_path):
    tiles = read_contents(find_pairs(shared / 'data/deepglobe_rgb', 'images', 'labels'))
    assert len(tiles) == 1957
    split = split_tiles(tiles, by='scene')
    scenes = [{t.name.split('_')[0] for t in part} for part in split.parts.values()]
    assert sum(map(len, scenes)) == len(set.union(*scenes)) == 14
    sizes = np.array([len(part) for part in split.parts.values()]) / 1957
    np.testing.assert_allclose(sizes, [0.6, 0.2, 0.2], atol=0.05)


def test_tiles_named_by_their_numbers(tmp_path, rng):
    for scene, count in (('a', 8), ('b', 8)):
        for row in range(count):
            for column in range(count):
                name = f'{scene}_{row}_{column}'
                write_raster(tmp_path / f'images/{name}.png', np.ones((1, 32, 32), np.uint8))
                label = rng.integers(1, 3, (32, 32)).astype(np.uint8)
                write_raster(tmp_path / f'labels/{name}.png', label)
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    two = split_tiles(tiles)
    assert two.method == 'by blocks of each scene'
    assert [len(part) for part in two.parts.values()] == pytest.approx([77, 26, 26], abs=8)
    one = split_tiles([tile for tile in tiles if tile.name.startswith('a')])
    assert 'pixels' in one.method
    assert one.unit == 'pixels'
    assert sum(map(len, one.parts.values())) == 64


def test_the_last_tiles_of_a_cut_scene_overlap_their_neighbours(tmp_path, rng):
    """Names are pixels although the last step, moved inwards, is small."""
    places = (0, 64, 128, 192, 256, 259)  # a scene of 323 pixels in tiles of 64
    for row in places:
        for column in places:
            name = f'a_{row}_{column}'
            write_raster(tmp_path / f'images/{name}.png', np.ones((1, 64, 64), np.uint8))
            write_raster(tmp_path / f'labels/{name}.png', np.ones((64, 64), np.uint8))
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    split = split_tiles(tiles, by='blocks', block_size=128)
    corners = [
        np.array([[int(n) for n in tile.name.split('_')[1:]] for tile in part])
        for part in split.parts.values()
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):  # no training tile overlaps another part
        distances = np.abs(corners[first][:, None] - corners[second]).max(-1)
        assert distances.min() >= 64


def test_overlapping_tiles_of_several_scenes_without_georeferences(tmp_path):
    """Tiles of 64 pixels at half a stride overlap within two scenes of one part each."""
    for scene in 'ab':
        for row in range(0, 320, 32):
            for column in range(0, 320, 32):
                name = f'{scene}_{row}_{column}'
                write_raster(tmp_path / f'images/{name}.png', np.ones((1, 64, 64), np.uint8))
                write_raster(tmp_path / f'labels/{name}.png', np.ones((64, 64), np.uint8))
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))

    def smallest_distance(split, first, second):
        """Return the smallest distance of two parts between tiles of one scene, -1 if overlaps."""
        found = []
        for one in split.parts[first]:
            for other in split.parts[second]:
                (a, *place), (b, *there) = (t.name.split('_') for t in (one, other))
                steps = np.abs(np.array(place, int) - np.array(there, int)) - 64
                found += [np.hypot(*steps.clip(0)) if (steps >= 0).any() else -1] if a == b else []
        return min(found, default=np.inf)

    split = split_tiles(tiles)
    assert split.method == 'by blocks of each scene'
    assert 'of train are left out: they overlap tiles of later parts' in split.notes[0]
    for first, second in (('train', 'val'), ('train', 'test'), ('val', 'test')):
        assert smallest_distance(split, first, second) >= 0
    assert split.distance == smallest_distance(split, 'train', 'test')
    apart = split_tiles(tiles, by='blocks', block_size=120, gap=20)
    assert smallest_distance(apart, 'train', 'val') >= 20
    assert apart.distance == smallest_distance(apart, 'train', 'test') >= 20
    assert apart.unit == 'pixels'


def test_distances_between_scenes_without_georeferences_are_unknown(tmp_path):
    for name in ('a_0_0', 'a_0_9', 'b_0_0', 'b_0_9', 'c_0_0'):
        write_raster(tmp_path / f'images/{name}.png', np.ones((1, 9, 9), np.uint8))
        write_raster(tmp_path / f'labels/{name}.png', np.ones((9, 9), np.uint8))
    split = split_tiles(read_contents(find_pairs(tmp_path, 'images', 'labels')), gap=1e9)
    assert split.method == 'by scene (3)'
    assert split.distance is None
    assert sum(map(len, split.parts.values())) == 5


def test_validation_tiles_that_overlap_test_tiles_are_left_out(tmp_path, rng):
    for i in range(30):
        write_raster(
            tmp_path / f'images/t{i}.tif', np.ones((1, 100, 100), np.uint8),
            georeference=reference(i / 2, 0),
        )  # fmt: skip
        write_raster(tmp_path / f'labels/t{i}.png', np.ones((100, 100), np.uint8))
    tiles = read_contents(find_pairs(tmp_path, 'images', 'labels'))
    split = split_tiles(tiles, by='blocks', block_size=250)
    places = [
        np.array([tile.georeference.transform[0] for tile in part]) for part in split.parts.values()
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(places[first][:, None] - places[second]).min() >= 100


def test_folds_of_another_split_are_removed(tmp_path, tiles):
    for number in range(1, 6):
        write_lists({'train': tiles[:1]}, tmp_path, tmp_path / f'fold{number}')
    with pytest.raises(DatasetError, match=r'fold4: a fold of another split: add --overwrite'):
        remove_folds(tmp_path, 3)
    remove_folds(tmp_path, 3, overwrite=True)
    assert [p.parent.name for p in sorted(tmp_path.glob('fold*/train.txt'))] == [
        'fold1', 'fold2', 'fold3',
    ]  # fmt: skip

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from osgeo import gdal, osr

from dnas_mmseg.datasets import DatasetError, GID5Dataset
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.preparation.conversion import convert_scenes
from dnas_mmseg.preparation.scenes import find_scenes, split_by_share
from dnas_mmseg.preparation.synthetic import write_scenes
from dnas_mmseg.preparation.tiling import TileSpec
from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_raster

PARAMETERS = dict(classes=CLASSES, palette=PALETTE, bands=BANDS, label_convention='rgb')
TILING = TileSpec(**PARAMETERS, size=40, stride=40)


@pytest.fixture
def splits(tmp_path):
    write_scenes(tmp_path / 'scenes', count=5, size=96)
    found = find_scenes(tmp_path / 'scenes', 'image_NirRGB/*', 'label_5classes/{name}_label.*')
    return split_by_share(found, (0.6, 0.2, 0.2))


def content(root):
    """Return path and bytes of every file in a folder, except lock files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file() and not path.name.startswith('.lock')
    }


def test_data_root_describes_its_tiles(splits, tmp_path):
    description, notes = convert_scenes(splits, tmp_path / 'out', TILING)
    assert len(notes) == 1
    assert 'has no band names: assumed to be nir, red, green, blue' in notes[0]
    dataset = GID5Dataset(data_root=str(tmp_path / 'out'), ann_file='train.txt', check_files=27)
    assert len(dataset) == 3 * 9
    images = np.stack([read_raster(image) for image, _ in dataset.pairs])
    labels = np.stack([read_raster(label) for _, label in dataset.pairs])
    np.testing.assert_allclose(description.mean, images.mean((0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(description.std, images.std((0, 2, 3)), atol=1e-4)
    counts = np.bincount(labels.ravel(), minlength=256)[:5]
    np.testing.assert_allclose(description.class_shares, counts / counts.sum(), atol=1e-6)
    values = {
        f'#{bytes(colour).hex()}': name for colour, name in zip(PALETTE, CLASSES, strict=True)
    }
    assert description.scene_values == {'#000000': None, **values}
    scene = splits['val'][0]
    assert description.provenance['scenes']['val'] == [scene.name]
    manifest = json.loads((tmp_path / f'out/manifest/{scene.name}.json').read_text())
    assert (manifest['image'], manifest['label']) == (str(scene.image), str(scene.label))
    for tile in manifest['tiles']:
        name = f'{scene.name}_{tile["row"]}_{tile["column"]}'
        stored = (tmp_path / f'out/images/{name}.tif').read_bytes()
        assert tile['image_sha256'] == hashlib.sha256(stored).hexdigest()
    assert len(manifest['tiles']) == 9


def test_workers_write_the_same_files(splits, tmp_path):
    steps = []
    convert_scenes(splits, tmp_path / 'one', TILING)
    convert_scenes(splits, tmp_path / 'two', TILING, workers=2, advance=lambda *s: steps.append(s))
    assert content(tmp_path / 'one') == content(tmp_path / 'two')
    assert steps[-1] == (45, 45)


def test_interrupted_run_resumes(splits, tmp_path):
    convert_scenes(splits, tmp_path / 'whole', TILING)

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    out = tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        convert_scenes(splits, out, TILING, advance=stop)
    assert not (out / 'train.txt').exists()
    finished = {p: p.stat().st_mtime_ns for p in (out / 'manifest').iterdir()}
    assert len(finished) == 2
    steps = []
    convert_scenes(splits, out, TILING, advance=lambda *step: steps.append(step))
    assert steps[-1] == (27, 27)
    assert content(out) == content(tmp_path / 'whole')
    assert all(p.stat().st_mtime_ns == time for p, time in finished.items())
    # Only a scene whose file has changed is cut again.
    os.utime(splits['test'][0].image, ns=(1, 1))
    steps.clear()
    convert_scenes(splits, out, TILING, advance=lambda *step: steps.append(step))
    assert steps[-1] == (9, 9)
    with pytest.raises(DatasetError, match=r'cut with other settings \(stride\): choose'):
        convert_scenes(splits, out, TileSpec(**PARAMETERS, size=40, stride=20))


def test_run_with_nodata_nan_resumes(splits, tmp_path):
    tiling = TileSpec(**PARAMETERS, size=40, stride=40, nodata=float('nan'))
    convert_scenes(splits, tmp_path / 'out', tiling)
    before, steps = content(tmp_path / 'out'), []
    convert_scenes(splits, tmp_path / 'out', tiling, advance=lambda *step: steps.append(step))
    assert not steps
    assert content(tmp_path / 'out') == before
    with pytest.raises(DatasetError, match=r'cut with other settings \(nodata\): choose'):
        convert_scenes(splits, tmp_path / 'out', TILING)


def test_too_many_unknown_colours_raise(splits, tmp_path):
    label = splits['train'][0].label
    colours = read_raster(label)
    colours[:, 50, 3:11] = np.array([[1], [2], [3]], np.uint8)  # 8 of 9216 pixels
    write_raster(label, colours)
    _, notes = convert_scenes(splits, tmp_path / 'a', TILING)
    assert len(notes) == 2
    assert '1 unknown label values count as unlabelled: (1, 2, 3) (' in notes[1]
    with pytest.raises(DatasetError, match=r'\(1, 2, 3\) \(.*pixels, .*%\).*max_unknown = 0.0005'):
        convert_scenes(splits, tmp_path / 'b', TILING, max_unknown=0.0005)
    assert not (tmp_path / 'b/train.txt').exists()
    # The option does not change tiles, so the run resumes.
    convert_scenes(splits, tmp_path / 'b', TILING, max_unknown=0.01)
    with pytest.raises(DatasetError, match=r'max_unknown = 0$'):
        convert_scenes(splits, tmp_path / 'b', TILING, max_unknown=0)


@pytest.mark.parametrize('size', [96, 384])
def test_share_of_unknown_values_excludes_padding(splits, tmp_path, size):
    label = splits['train'][0].label
    colours = read_raster(label)
    colours[:, 24:36, 24:36] = np.array([[[1]], [[2]], [[3]]], np.uint8)  # 1.6 % of 96 x 96
    write_raster(label, colours)
    with pytest.raises(DatasetError, match=r'pixels, 1\.\d+ %.*max_unknown = 0\.01'):
        convert_scenes(
            splits, tmp_path / 'out', TileSpec(**PARAMETERS, size=size, stride=size),
            max_unknown=0.01,
        )  # fmt: skip


def test_statistics_are_independent_of_tile_size(splits, tmp_path):
    """Padding of tiles larger than scenes is excluded."""
    small, _ = convert_scenes(splits, tmp_path / 'a', TileSpec(**PARAMETERS, size=32, stride=32))
    large, _ = convert_scenes(splits, tmp_path / 'b', TileSpec(**PARAMETERS, size=128, stride=128))
    np.testing.assert_allclose(small.mean, large.mean, atol=1e-4)
    np.testing.assert_allclose(small.std, large.std, atol=1e-4)


def test_missing_tiles_are_cut_again(splits, tmp_path):
    convert_scenes(splits, tmp_path, TILING)
    before = content(tmp_path)
    next((tmp_path / 'images').iterdir()).unlink()
    steps = []
    convert_scenes(splits, tmp_path, TILING, advance=lambda *step: steps.append(step))
    assert steps[-1] == (9, 9)
    assert content(tmp_path) == before


def test_split_by_tile_warns(splits, tmp_path):
    description, notes = convert_scenes(splits, tmp_path, TILING, mix_tiles=1)
    assert any('inflates scores on val and test' in note for note in notes)
    assert description.provenance['split'] == 'by tile, seed 1'
    lists = {s: (tmp_path / f'{s}.txt').read_text().splitlines() for s in splits}
    assert {split: len(lines) for split, lines in lists.items()} == dict(train=27, val=9, test=9)
    assert len({line for lines in lists.values() for line in lines}) == 45
    scenes = {split: {line.split('_')[2] for line in lines} for split, lines in lists.items()}
    assert scenes['train'] & scenes['test']


def test_invalid_input_raises_before_cutting(splits, tmp_path):
    with pytest.raises(DatasetError, match='no training scenes'):
        convert_scenes({**splits, 'train': []}, tmp_path / 'out', TILING)
    with pytest.raises(DatasetError, match='4 bands, expected 3'):
        convert_scenes(splits, tmp_path / 'out', TileSpec(**{**PARAMETERS, 'bands': BANDS[:3]}))
    assert not content(tmp_path / 'out')
    for scene in splits['train']:
        write_raster(scene.label, np.zeros((3, 96, 96), np.uint8))
    with pytest.raises(DatasetError, match=r'train has no tile: .* lower min_labelled = 0\.5'):
        convert_scenes(
            splits,
            tmp_path / 'out',
            TileSpec(**PARAMETERS, size=40, stride=40, min_labelled=0.5),
        )


def test_splits_without_tiles_are_noted(splits, tmp_path):
    for scene in splits['val']:
        write_raster(scene.label, np.zeros((3, 96, 96), np.uint8))
    tiling = TileSpec(**PARAMETERS, size=40, stride=40, min_labelled=0.5)
    _, notes = convert_scenes(splits, tmp_path / 'out', tiling)
    assert (tmp_path / 'out/val.txt').read_text() == ''
    assert notes[-1].startswith(f'val has no tile: its scenes ({splits["val"][0].name}) have too')


def test_labelled_pixels_of_a_scene_are_counted_once(splits, tmp_path):
    """Also if a tile is missing."""
    convert_scenes(splits, tmp_path, TILING)
    (scene,) = splits['test']
    truth = read_raster(scene.label)
    labelled = (truth != 0).any(0)

    def counted(**options):
        data = GID5Dataset(
            data_root=str(tmp_path), ann_file='test.txt',
            pipeline=[dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')],
            **options,
        )  # fmt: skip
        times = np.zeros((96, 96), int)
        for i in range(len(data)):
            results = data[i]
            _, row, column = results['img_path'].removesuffix('.tif').rsplit('_', 2)
            inside = np.s_[int(row) : int(row) + 40, int(column) : int(column) + 40]
            times[inside] += results['gt_seg_map'] != 255
        return times

    assert (counted(test_mode=True) == labelled).all()
    assert counted(test_mode=True, count_once=False).max() == 4
    assert counted().max() == 4  # not by default in training
    # Without the middle tile, its neighbours count their overlap with it.
    lines = (tmp_path / 'test.txt').read_text().splitlines(keepends=True)
    (tmp_path / 'test.txt').write_text(''.join(line for line in lines if '_40_40' not in line))
    hole = np.zeros((96, 96), bool)
    hole[40:56, 40:56] = True  # only in the middle tile
    assert (counted(test_mode=True) == (labelled & ~hole)).all()


def test_count_once_requires_tile_names(data_root):
    (data_root / 'images/t_3_0.tif').rename(data_root / 'images/t.tif')
    lines = (data_root / 'train.txt').read_text().replace('images/t_3_0', 'images/t')
    (data_root / 'train.txt').write_text(lines)
    with pytest.raises(
        DatasetError, match=r'requires tiles named <scene>_<row>_<column>, got .*t\.tif'
    ):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt', count_once=True)


def scene_pair(folder, name, samples, label=None, **kwargs):
    """Write a scene and its label of train ids."""
    write_raster(folder / f'scenes/{name}.tif', samples, **kwargs)
    if label is None:
        label = (samples[0] > samples[0].mean()).astype(np.uint8)
    write_raster(folder / f'labels/{name}.tif', label)


TWO = dict(classes=('a', 'b'), palette=((1, 1, 1), (2, 2, 2)), label_convention='train_id')


def converted(folder, pattern='scenes/*.tif', **parameters):
    found = find_scenes(folder, pattern, 'labels/{name}.tif')
    tiling = TileSpec(**{**TWO, 'bands': ('red', 'nir'), 'size': 32, 'stride': 32, **parameters})
    return convert_scenes({'train': found}, folder / 'out', tiling)


def test_nodata_values_per_band(tmp_path, rng):
    """A TIFF has one nodata value for all bands, so these tiles have a mask."""
    samples = rng.integers(1, 255, (2, 32, 32)).astype(np.uint8)
    samples[:, :16, :8] = 0  # valid: the second band's nodata is 255
    samples[0, 16:, :8], samples[1, 16:, :8] = 0, 255  # invalid
    scene_pair(tmp_path, 's', samples)
    options = gdal.TranslateOptions(format='VRT')
    vrt = gdal.Translate(
        str(tmp_path / 'scenes/s.vrt'), str(tmp_path / 'scenes/s.tif'), options=options
    )
    vrt.GetRasterBand(1).SetNoDataValue(0)
    vrt.GetRasterBand(2).SetNoDataValue(255)
    vrt = None
    converted(tmp_path, 'scenes/*.vrt')
    expected = np.zeros((32, 32), bool)
    expected[16:, :8] = True
    with Raster(tmp_path / 'out/images/s_0_0.tif') as raster:
        tile = raster.samples()
    np.testing.assert_array_equal(tile.invalid, expected)
    np.testing.assert_array_equal(tile.values, samples)
    np.testing.assert_array_equal(
        read_raster(tmp_path / 'out/labels/s_0_0.png')[0] == 255, expected
    )


def test_changed_sources_and_sidecar_files_are_cut_again(tmp_path, rng):
    samples = rng.integers(1, 255, (2, 32, 32)).astype(np.uint8)
    label = np.zeros((32, 32), np.uint8)
    write_raster(tmp_path / 'scenes/s.tif', samples)
    write_raster(tmp_path / 'labels/source/l.tif', label)
    gdal.Translate(str(tmp_path / 'labels/s.vrt'), str(tmp_path / 'labels/source/l.tif'))
    found = find_scenes(tmp_path, 'scenes/*.tif', 'labels/{name}.vrt')
    tiling = TileSpec(**TWO, bands=('red', 'nir'), size=32, stride=32)
    cut = []

    def tile():
        cut.clear()
        convert_scenes({'train': found}, tmp_path / 'out', tiling, advance=lambda *s: cut.append(s))
        return read_raster(tmp_path / 'out/labels/s_0_0.png')[0]

    np.testing.assert_array_equal(tile(), label)
    label[:9] = 1
    write_raster(tmp_path / 'labels/source/l.tif', label)
    np.testing.assert_array_equal(tile(), label)
    mask = np.full((32, 32), 255, np.uint8)
    mask[20:] = 0
    dataset = gdal.Open(str(tmp_path / 'scenes/s.tif'))  # read-only: the mask is in s.tif.msk
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(mask)
    dataset = None
    assert (tmp_path / 'scenes/s.tif.msk').is_file()
    label[20:] = 255
    np.testing.assert_array_equal(tile(), label)
    (tmp_path / 'scenes/s.tif.aux.xml').write_text('<PAMDataset/>')  # statistics
    tile()
    assert not cut


def test_scales_of_used_bands_are_compared(tmp_path, rng):
    """An alpha band is not used."""
    for name, bands in (('a', ('red', 'nir')), ('b', ('red', 'nir', 'alpha'))):
        samples = rng.integers(1, 255, (len(bands), 32, 32)).astype(np.uint8)
        scene_pair(tmp_path, name, samples, names=bands)
        dataset = gdal.Open(str(tmp_path / f'scenes/{name}.tif'), gdal.GA_Update)
        for i in (1, 2):
            dataset.GetRasterBand(i).SetScale(2.0)
        dataset = None
    _, notes = converted(tmp_path)
    assert not [note for note in notes if 'files declare' in note]


def test_scales_of_two_baselines(tmp_path, rng):
    """Two processing baselines: samples differ by 1,000, reflectances are equal."""
    ground = rng.integers(100, 3000, (2, 32, 32)).astype(np.uint16)
    for name, shift in (('old', 0), ('new', 1000)):
        scene_pair(tmp_path, name, ground + np.uint16(shift))
        dataset = gdal.Open(str(tmp_path / f'scenes/{name}.tif'), gdal.GA_Update)
        for i in (1, 2):
            dataset.GetRasterBand(i).SetScale(1e-4)
            dataset.GetRasterBand(i).SetOffset(-shift * 1e-4)
        dataset = None
    _, notes = converted(tmp_path)
    (warning,) = [note for note in notes if 'files declare' in note]
    assert 'declare 2 different scales and offsets' in warning
    assert 'x 0.0001 -0.1' in warning
    assert 'dnas convert --apply-scale' in warning
    shutil.rmtree(tmp_path / 'out')
    description, notes = converted(tmp_path, apply_scale=True)
    assert not [note for note in notes if 'files declare' in note]
    assert (description.apply_scale, description.metainfo['apply_scale']) == (True, True)
    tiles = [read_raster(tmp_path / f'out/images/{name}_0_0.tif') for name in ('old', 'new')]
    np.testing.assert_allclose(tiles[0], ground * 1e-4, rtol=1e-5)
    np.testing.assert_allclose(tiles[0], tiles[1], rtol=1e-4)
    np.testing.assert_allclose(description.std, (ground * 1e-4).std((1, 2)), rtol=1e-4)


def test_statistics_of_reflectance_keep_digits(tmp_path, rng):
    samples = (0.05 + 1e-3 * rng.random((2, 64, 64))).astype(np.float32)
    scene_pair(tmp_path, 's', samples)
    description, _ = converted(tmp_path)
    np.testing.assert_allclose(description.std, samples.std((1, 2)), rtol=1e-4)
    assert min(description.std) > 2e-4


def test_suffixes_are_case_insensitive(tmp_path, rng):
    for name in ('a', 'b'):
        scene_pair(tmp_path, name, rng.integers(1, 255, (2, 32, 32)).astype(np.uint8))
    (tmp_path / 'scenes/b.tif').rename(tmp_path / 'scenes/b.TIF')
    (tmp_path / 'labels/a.tif').rename(tmp_path / 'labels/a.TIF')
    found = find_scenes(tmp_path, 'scenes/*.tif', 'labels/{name}.tif')
    assert [scene.name for scene in found] == ['a', 'b']


def test_sources_in_output_folders_raise(tmp_path, rng):
    write_raster(tmp_path / 'images/s.tif', rng.integers(1, 255, (2, 32, 32)).astype(np.uint8))
    write_raster(tmp_path / 'truth/s.tif', np.zeros((32, 32), np.uint8))
    found = find_scenes(tmp_path, 'images/*.tif', 'truth/{name}.tif')
    tiling = TileSpec(**TWO, bands=('red', 'nir'))
    with pytest.raises(DatasetError, match='is where tiles would be written'):
        convert_scenes({'train': found}, tmp_path, tiling)


@pytest.mark.parametrize('name', ['dataset.json', 'val.txt'])
def test_other_data_sets_are_not_overwritten(splits, tmp_path, name):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / name).write_text('mine')
    with pytest.raises(DatasetError, match='a data set from another source'):
        convert_scenes(splits, tmp_path / 'out', TILING)
    assert content(tmp_path / 'out') == {name: b'mine'}


def test_label_in_another_crs_raises(tmp_path, rng):
    def place(code, size=4.0):
        system = osr.SpatialReference()
        system.ImportFromEPSG(code)
        return GeoReference(system.ExportToWkt(), 0.0, (5e5, size, 0.0, 4e6, 0.0, -size))

    samples = rng.integers(1, 255, (2, 32, 32)).astype(np.uint8)
    write_raster(tmp_path / 'scenes/s.tif', samples, georeference=place(32650))
    for other, message in (
        (place(32651), 'EPSG:32651, not in EPSG:32650'),
        (place(32650, 2.0), '2 x 2'),
    ):
        label = np.zeros((32, 32), np.uint8)
        write_raster(tmp_path / 'labels/s.tif', label, georeference=other)
        with pytest.raises(DatasetError, match=message):
            converted(tmp_path)

"""Files from other programs: nodata of all kinds, missing band names, various labels."""

import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS
from osgeo import gdal

from dnas_mmseg.classes import default_palette
from dnas_mmseg.datasets import (
    DatasetError,
    LabelEncoding,
    MultiBandSegDataset,
    inspect_pairs,
    multi_band_parts,
    summarise,
)
from dnas_mmseg.datasets.labels import read_label
from dnas_mmseg.preparation.conversion import convert_scenes
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.preparation.tiling import TileSpec
from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_raster

from ..conftest import make_data_root

BANDS = ('red', 'green', 'blue', 'nir')
CLASSES = ('a', 'b', 'c')
PIPELINE = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]


def gap():
    mask = np.zeros((16, 16), bool)
    mask[:, 10:] = True
    return mask


def tile(root, name='t', samples=None, ids=None, names=BANDS, **kwargs):
    if samples is None:
        samples = np.arange(4 * 256).reshape(4, 16, 16).astype(np.int16)
    write_raster(root / f'images/{name}.tif', samples, names=names, **kwargs)
    write_raster(root / f'labels/{name}.png', np.zeros((16, 16), np.uint8) if ids is None else ids)
    return samples


def dataset(root, **kwargs):
    kwargs = {'metainfo': dict(classes=CLASSES, bands=BANDS), 'pipeline': PIPELINE, **kwargs}
    return MultiBandSegDataset(data_root=str(root), **{'label_convention': 'train_id', **kwargs})


def summary(data):
    return summarise(inspect_pairs(data.pairs, data.expected, statistics=True), data.labels)


@pytest.mark.parametrize('value', [-9999, -32768])
def test_integer_nodata_equals_nan_of_floats(tmp_path, value):
    samples = np.arange(4 * 256).reshape(4, 16, 16)
    integers, floats = samples.astype(np.int16), samples.astype(np.float32)
    integers[:, gap()], floats[:, gap()] = value, np.nan
    tile(tmp_path / 'integers', samples=integers, nodata=value)
    tile(tmp_path / 'floats', samples=floats)
    a, b = (dataset(tmp_path / kind) for kind in ('integers', 'floats'))
    np.testing.assert_array_equal(a[0]['img'], b[0]['img'])
    np.testing.assert_array_equal(a[0]['gt_seg_map'], np.where(gap(), 255, 0))
    np.testing.assert_array_equal(b[0]['gt_seg_map'], np.where(gap(), 255, 0))
    first, second = summary(a), summary(b)
    np.testing.assert_array_equal(first.mean, samples[:, ~gap()].mean(1))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)
    assert first.invalid == second.invalid == pytest.approx(6 / 16)
    assert first.unlabelled == 0  # of the valid pixels
    np.testing.assert_array_equal(first.class_pixels, [160, 0, 0])


def test_masks_user_nodata_and_infinity(tmp_path):
    samples = tile(tmp_path / 'mask', valid=~gap())
    black = samples.copy()
    black[:, gap()] = 0
    tile(tmp_path / 'user', samples=black)
    infinite = samples.astype(np.float32)
    infinite[2, gap()] = -np.inf
    tile(tmp_path / 'infinite', samples=infinite)
    for kind, options in (('mask', {}), ('user', dict(nodata=0)), ('infinite', {})):
        data = dataset(tmp_path / kind, **options)
        assert np.isnan(data[0]['img'][gap()]).all()
        result = summary(data)
        np.testing.assert_array_equal(result.mean, samples[:, ~gap()].mean(1))
        assert np.isfinite(result.std).all()


def test_only_selected_bands_determine_validity(tmp_path):
    samples = np.ones((5, 16, 16), np.float32)
    samples[4] = np.nan  # elevation, not selected
    samples[:4, gap()] = 0
    tile(tmp_path, samples=samples, names=(*BANDS, 'dem'), nodata=0)
    steps = [PIPELINE[0], dict(type='SelectBands', bands=BANDS[:3]), PIPELINE[1]]
    data = dataset(tmp_path, metainfo=dict(classes=CLASSES, bands=(*BANDS, 'dem')), pipeline=steps)
    sample = data[0]
    assert sample['img'].shape == (16, 16, 3)
    np.testing.assert_array_equal(np.isnan(sample['img']).any(2), gap())
    np.testing.assert_array_equal(sample['gt_seg_map'] == 255, gap())
    result = summary(data)
    np.testing.assert_array_equal(result.mean, [1, 1, 1])
    assert result.invalid == pytest.approx(6 / 16)


def test_select_bands_after_label_loading_updates_the_label(tmp_path):
    samples = np.ones((4, 16, 16), np.uint8)
    samples[:2, gap()] = 0  # nodata for two of four bands
    tile(tmp_path, samples=samples, nodata=0)
    steps = [*PIPELINE, dict(type='SelectBands', bands=BANDS[:2])]
    sample = dataset(tmp_path, pipeline=steps)[0]
    np.testing.assert_array_equal(sample['gt_seg_map'] == 255, gap())


def test_labels_with_nodata_masks_and_alpha(tmp_path):
    labels = LabelEncoding('train_id', 3)
    ids = np.zeros((16, 16), np.int16)
    ids[gap()] = -9999
    write_raster(tmp_path / 'tag.tif', ids, nodata=-9999)
    masked = np.full((16, 16), 2, np.uint8)
    write_raster(tmp_path / 'mask.tif', masked, valid=~gap())
    for name, value in (('tag', 0), ('mask', 2)):
        expected = np.where(gap(), 255, value)
        with Raster(tmp_path / f'{name}.tif') as raster:
            np.testing.assert_array_equal(read_label(raster, labels), expected)
    coloured = np.zeros((4, 16, 16), np.uint8)
    coloured[3] = np.where(gap(), 0, 255)
    dataset_ = gdal.GetDriverByName('GTiff').Create(
        str(tmp_path / 'rgba.tif'), 16, 16, 4, gdal.GDT_Byte, ['PHOTOMETRIC=RGB', 'ALPHA=YES']
    )
    dataset_.WriteArray(coloured)
    dataset_ = None
    colours = LabelEncoding('rgb', 3, ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (9, 9, 9))
    with Raster(tmp_path / 'rgba.tif') as raster:
        np.testing.assert_array_equal(read_label(raster, colours), np.where(gap(), 255, 0))


def test_class_declared_as_nodata_stays_a_class_with_a_warning(tmp_path):
    tile(tmp_path)
    (tmp_path / 'labels/t.png').unlink()
    write_raster(tmp_path / 'labels/t.tif', np.zeros((16, 16), np.uint8), nodata=0)
    data = dataset(tmp_path, seg_map_suffix='.tif', check_files=0)
    assert (data[0]['gt_seg_map'] == 0).all()
    (warning,) = summary(data).warnings
    assert "declares 0 as nodata, which is a class by label_convention='train_id'" in warning


def test_binary_mask_of_0_and_255_warns(tmp_path):
    tile(tmp_path, ids=np.where(gap(), 255, 0).astype(np.uint8))
    with pytest.warns(UserWarning, match='255 means unlabelled, so the second class never occurs'):
        dataset(tmp_path, metainfo=dict(classes=('no', 'yes'), bands=BANDS))


def test_reduce_zero_label_is_the_index_convention(tmp_path):
    tile(tmp_path, ids=np.where(gap(), 0, 3).astype(np.uint8))
    config = dict(metainfo=dict(classes=CLASSES, bands=BANDS), reduce_zero_label=True)
    data = dataset(tmp_path, label_convention=None, **config)
    np.testing.assert_array_equal(data[0]['gt_seg_map'], np.where(gap(), 255, 2))
    with pytest.raises(DatasetError, match="reduce_zero_label=True is label_convention='index'"):
        dataset(tmp_path, label_convention='train_id', **config)


def test_data_set_without_palette_uses_the_default(tmp_path):
    tile(tmp_path)
    assert list(map(tuple, dataset(tmp_path).metainfo['palette'])) == list(default_palette(3))


def test_metainfo_bands_override_file_tags_with_a_warning(tmp_path):
    """NAIP files have NIR in the fourth band, tagged as alpha."""
    root = make_data_root(tmp_path, bands=BANDS)
    for path in (root / 'images').iterdir():
        samples = read_raster(path)
        dataset_ = gdal.GetDriverByName('GTiff').Create(str(path), 64, 64, 4, gdal.GDT_Byte)
        dataset_.WriteArray(samples)
        dataset_ = None
    with pytest.warns(
        UserWarning, match=r'band 4 is alpha in the file, but used as nir.*more files'
    ):
        data = MultiBandSegDataset(data_root=str(root), ann_file='train.txt', pipeline=PIPELINE)
    np.testing.assert_array_equal(data[0]['img'].transpose(2, 0, 1), read_raster(data.pairs[0][0]))
    assert data[0]['bands'] == BANDS
    loaded = TRANSFORMS.build(PIPELINE[0])(dict(img_path=data.pairs[0][0]))
    assert loaded['img'].shape[2] == 3  # without band names, alpha is dropped
    chosen = TRANSFORMS.build(dict(type='SelectBands', bands=('nir',), source=BANDS))(loaded)
    np.testing.assert_array_equal(chosen['img'][..., 0], read_raster(data.pairs[0][0])[3])


def test_different_sizes_are_noted(tmp_path):
    tile(tmp_path)
    tile(tmp_path, 'u', samples=np.ones((4, 8, 8), np.int16), ids=np.zeros((8, 8), np.uint8))
    result = summary(dataset(tmp_path))
    assert not result.problems
    assert any('different sizes: 16 x 16 (1), 8 x 8 (1)' in note for note in result.notes)


def test_parts_of_a_concat_dataset(tmp_path):
    for name in ('one', 'two'):
        tile(tmp_path / name)
    both = DATASETS.build(
        dict(type='ConcatDataset', datasets=[dataset(tmp_path / name) for name in ('one', 'two')])
    )
    parts = multi_band_parts(both)
    assert [part.pairs[0][0].split('/')[-3] for part in parts] == ['one', 'two']
    tile(tmp_path / 'three')
    other = dataset(tmp_path / 'three', metainfo=dict(classes=('x', 'y'), bands=BANDS))
    both = DATASETS.build(
        dict(type='ConcatDataset', datasets=[parts[0], other], ignore_keys=['classes', 'palette'])
    )
    with pytest.raises(DatasetError, match='of different classes cannot be combined'):
        multi_band_parts(both)


def place(row=0.0):
    return GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (5.0, 2.0, 0.0, 9.0 - 2 * row, 0.0, -2.0))


def test_misaligned_labels_are_a_problem(tmp_path):
    tile(tmp_path, georeference=place())
    for row, problems in ((0, 0), (0.5, 0), (64, 1)):
        ids = np.zeros((16, 16), np.uint8)
        write_raster(tmp_path / 'labels/t.tif', ids, georeference=place(row))
        data = dataset(tmp_path, seg_map_suffix='.tif', check_files=0)
        found = summary(data).problems
        assert len(found) == problems
    assert (
        "georeference differs from its image's: it is shifted by +64.0 rows and +0.0 columns"
        in found[0]
    )


TILING = TileSpec(CLASSES, ((0, 0, 0), (1, 1, 1), (2, 2, 2)), BANDS, 'train_id', size=8, stride=8)


@pytest.mark.parametrize('kind', ['tag', 'mask', 'user'])
def test_tiles_preserve_nodata_of_their_scenes(tmp_path, kind):
    options = {'tag': dict(nodata=0), 'mask': dict(valid=~gap()), 'user': {}}[kind]
    samples = np.ones((4, 16, 16), np.int16)
    if kind != 'mask':
        samples[:, gap()] = 0
    tile(tmp_path, samples=samples, **options)
    scene = Scene('t', tmp_path / 'images/t.tif', tmp_path / 'labels/t.png')
    tiling = TileSpec(**{**TILING.__dict__, 'nodata': 0 if kind == 'user' else None})
    description, _ = convert_scenes({'train': [scene]}, tmp_path / 'out', tiling)
    assert description.mean == (1, 1, 1, 1)
    data = MultiBandSegDataset(
        data_root=str(tmp_path / 'out'), ann_file='train.txt', pipeline=PIPELINE
    )
    assert len(data) == 4
    for i, (path, _) in enumerate(data.pairs):
        row, column = (int(part) for part in path.removesuffix('.tif').split('_')[-2:])
        part = gap()[row : row + 8, column : column + 8]
        np.testing.assert_array_equal(np.isnan(data[i]['img']).all(2), part)
        np.testing.assert_array_equal(data[i]['gt_seg_map'], np.where(part, 255, 0))


def test_converter_rejects_misaligned_labels(tmp_path):
    tile(tmp_path, georeference=place())
    write_raster(tmp_path / 'l.tif', np.zeros((16, 16), np.uint8), georeference=place(64))
    scene = Scene('t', tmp_path / 'images/t.tif', tmp_path / 'l.tif')
    with pytest.raises(
        DatasetError, match=r'l\.tif: its georeference .*: it is shifted by \+64\.0 rows'
    ):
        convert_scenes({'train': [scene]}, tmp_path / 'out', TILING)

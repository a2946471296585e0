"""Tiles cut from torchgeo's GeoDatasets: parts without torchgeo, and torchgeo itself."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from osgeo import osr

from dnas_mmseg.datasets import DatasetDescription, DatasetError, LabelEncoding, MultiBandSegDataset
from dnas_mmseg.datasets.labels import LabelError
from dnas_mmseg.preparation.geo_dataset import cut_geo_dataset, encode_mask
from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_raster

from .test_splitting import reference

BANDS = ('red', 'green', 'blue', 'nir')


@pytest.mark.parametrize('dtype', [np.int64, np.int32, np.float32, np.uint8])
def test_masks(dtype):
    mask = np.array([[0, 1, 2], [3, 7, 99]]).astype(dtype)
    invalid = np.array([[0, 0, 0], [1, 0, 1]], bool)
    values = LabelEncoding('values', 2, values=((0, 255), (1, 1), (2, 0)))
    for shaped in (mask, mask[None]):
        ids = encode_mask(shaped, values, invalid, nodata=(7,))
        np.testing.assert_array_equal(ids, [[255, 1, 0], [255, 255, 255]])
        assert ids.dtype == np.uint8
    with pytest.raises(LabelError, match=r'label values 7(\.0)? \(1 pixels'):
        encode_mask(mask, values, invalid)


def test_masks_that_are_binary_or_not_numbers():
    labels = LabelEncoding('train_id', 2)
    np.testing.assert_array_equal(encode_mask(np.array([[False, True]]), labels), [[0, 1]])
    np.testing.assert_array_equal(encode_mask(np.array([[np.nan, 1.0]]), labels), [[255, 1]])


def test_without_torchgeo(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchgeo', None)
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', None)
    with pytest.raises(DatasetError, match=r'^cut_geo_dataset requires torchgeo.*pip install'):
        cut_geo_dataset(object(), tmp_path / 'out')


def test_other_data_sets_are_refused(tmp_path, monkeypatch):
    module = ModuleType('torchgeo.datasets')
    module.GeoDataset = type('GeoDataset', (), {})
    monkeypatch.setitem(sys.modules, 'torchgeo', ModuleType('torchgeo'))
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', module)
    for value, name in (('NAIP', 'NAIP'), ({}, 'dict')):
        with pytest.raises(DatasetError) as error:
            cut_geo_dataset(value, tmp_path / 'out')
        assert str(error.value) == (
            f'{name} is not a GeoDataset of torchgeo: expected an object such as images & masks. '
            'TorchGeoDataset trains on the samples of a NonGeoDataset as they are'
        )
    assert not (tmp_path / 'out').exists()


def test_queries_of_earlier_versions_are_refused(tmp_path, monkeypatch):
    package, module = ModuleType('torchgeo'), ModuleType('torchgeo.datasets')
    package.__version__ = '0.7.2'
    module.GeoDataset = type('GeoDataset', (), dict(bounds=(0.0, 1.0, 0.0, 1.0)))
    monkeypatch.setitem(sys.modules, 'torchgeo', package)
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', module)
    with pytest.raises(DatasetError, match=r'^torchgeo 0\.7\.2: .* requires torchgeo 0\.8 or late'):
        cut_geo_dataset(module.GeoDataset(), tmp_path / 'out')


class TestTorchGeo:
    """torchgeo itself, on small files."""

    @pytest.fixture(autouse=True)
    def _torchgeo(self):
        pytest.importorskip('torchgeo.datasets')

    @pytest.fixture
    def scene(self, tmp_path, rng):
        """Image and mask of 320 x 480 pixels, uint16, with the values 10, 20 and 30."""
        image = rng.integers(0, 40000, (4, 320, 480)).astype(np.uint16)
        mask = rng.integers(1, 4, (320, 480)).astype(np.uint8) * 10
        return self.write(tmp_path, image, mask)

    def write(self, folder, image, mask, name='a', georeference=None, **options):
        georeference = georeference or reference(0, 0)
        write_raster(
            folder / f'images/{name}.tif', image, georeference=georeference, names=BANDS, **options
        )
        write_raster(folder / f'masks/{name}.tif', mask, georeference=georeference)
        return folder, image, mask

    def build(self, folder, images='images', masks='masks', options=None, **attributes):
        from torchgeo.datasets import RasterDataset

        image_class = type('Images', (RasterDataset,), dict(filename_glob='*.tif', **attributes))
        mask_class = type(
            'Masks', (RasterDataset,), dict(filename_glob='*.tif', is_image=False, **attributes)
        )
        return image_class(folder / images, **options or {}), mask_class(
            folder / masks, **options or {}
        )

    def test_tiles_are_windows_of_the_files(self, scene):
        folder, image, mask = scene
        images, masks = self.build(folder)
        done = []
        result = cut_geo_dataset(
            images & masks, folder / 'out', size=32,
            label_values={10: 'a', 30: 'b', 20: None}, advance=lambda *step: done.append(step),
        )  # fmt: skip
        assert done == [(i, 150) for i in range(1, 151)]
        assert sum(result.tiles.values()) == 150
        assert min(result.tiles.values()) > 20
        assert [note.split(',')[0] for note in result.notes] == ['training and test tiles touch']
        paths = sorted((folder / 'out/images').iterdir())
        assert len(paths) == 150
        for path in paths:
            row, column = map(int, path.stem.split('_')[1:])
            assert path.name == f'Images_{row}_{column}.tif'
            with Raster(path) as raster:
                tile, info = raster.samples(), raster.info
            window = np.s_[..., row : row + 32, column : column + 32]
            np.testing.assert_array_equal(tile.values, image[window])
            assert (tile.values.dtype, tile.invalid) == (np.uint16, None)
            expected = reference(0, 0).moved(row, column)
            assert info.georeference.transform == expected.transform
            assert info.georeference.epsg == GeoReference(expected.crs).epsg is not None
            assert not info.georeference.describe_crs_difference(expected)
            assert info.descriptions == BANDS
            ids = read_raster(folder / 'out/labels' / f'{path.stem}.png')[0]
            codes = {10: 0, 30: 1, 20: 255}
            np.testing.assert_array_equal(ids, np.vectorize(codes.get)(mask[window]))

    def test_data_root_is_ready_to_train(self, scene):
        folder, *_ = scene
        images, masks = self.build(folder)
        values = {10: 'a', 20: 'b', 30: 'b'}
        result = cut_geo_dataset(images & masks, folder / 'out', size=32, label_values=values)
        description = DatasetDescription.load(folder / 'out')
        assert description.metainfo == result.description.metainfo
        assert (description.classes, description.bands) == (('a', 'b'), BANDS)
        assert (description.dtype, description.tile_size) == ('uint16', (32, 32))
        assert description.provenance['crs'] == 'EPSG:32632'
        parts, pixels = {}, []
        for split in ('train', 'val', 'test'):
            dataset = MultiBandSegDataset(
                data_root=str(folder / 'out'), ann_file=f'{split}.txt',
                pipeline=[dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')],
            )  # fmt: skip
            assert len(dataset) == result.tiles[split]
            for sample in dataset:
                parts[sample['img_path']] = split
                if split == 'train':
                    pixels.append(sample['img'].reshape(-1, 4))
        assert len(parts) == 150  # no tile is in two splits
        pixels = np.concatenate(pixels).astype(float)
        np.testing.assert_allclose(description.mean, pixels.mean(0), rtol=1e-5)
        np.testing.assert_allclose(description.std, pixels.std(0), rtol=1e-5)

    def test_same_result_again(self, scene):
        folder, *_ = scene
        contents = []
        for out in ('one', 'two'):
            images, masks = self.build(folder)
            cut_geo_dataset(images & masks, folder / out, size=64, classes='abcd',
                            label_values=(0, 10, 20, 30))  # fmt: skip
            files = sorted(path for path in (folder / out).rglob('*') if path.is_file())
            contents.append({str(p.relative_to(folder / out)): p.read_bytes() for p in files})
        assert contents[0] == contents[1]
        assert not [name for name in contents[0] if name.startswith('.')]

    @pytest.mark.parametrize('shift', [0.4, 0.6])
    def test_masks_on_a_shifted_grid(self, tmp_path, rng, shift):
        """The intersection begins inside a pixel; images are not resampled."""
        image = rng.integers(0, 255, (4, 128, 128)).astype(np.uint8)
        self.write(tmp_path, image, np.ones((128, 128), np.uint8), georeference=reference(0, 0))
        moved = reference(shift / 100, -shift / 100)
        write_raster(tmp_path / 'masks/a.tif', np.ones((128, 128), np.uint8), georeference=moved)
        images, masks = self.build(tmp_path)
        cut_geo_dataset(images & masks, tmp_path / 'out', size=32, classes='ab', shares=(1, 0, 0))
        tiles = sorted((tmp_path / 'out/images').iterdir())
        assert len(tiles) == 16
        for path in tiles:
            with Raster(path) as raster:
                transform = raster.info.georeference.transform
                samples = raster.samples()
            column, row = transform[0] - 500000, 5400000 - transform[3]
            assert (column, row) == (round(column), round(row))
            outside = np.zeros((32, 32), bool)
            outside[: max(0, -round(row))] = True
            outside[:, max(0, 128 - round(column)) :] = True
            found = np.zeros_like(outside) if samples.invalid is None else samples.invalid
            inside = image[:, max(0, round(row)) : round(row) + 32, round(column) :][:, :, :32]
            np.testing.assert_array_equal(found[outside], True)
            np.testing.assert_array_equal(samples.values[:, ~outside].reshape(inside.shape), inside)

    @pytest.mark.parametrize('resolution', [0.3, 8.983152841195215e-05])
    def test_resolutions_that_are_not_exact(self, tmp_path, rng, resolution):
        image = rng.integers(0, 255, (4, 96, 160)).astype(np.uint8)
        crs = reference(0, 0).crs if resolution > 0.1 else osr.SRS_WKT_WGS84_LAT_LONG
        west, north = (500000.1, 5400000.7) if resolution > 0.1 else (9.1234567, 48.7654321)
        scene = GeoReference(crs, transform=(west, resolution, 0, north, 0, -resolution))
        self.write(tmp_path, image, np.ones((96, 160), np.uint8), georeference=scene)
        images, masks = self.build(tmp_path)
        result = cut_geo_dataset(
            images & masks, tmp_path / 'out', size=32, classes='ab', shares=(1, 0, 0)
        )
        assert 'skipped' not in ''.join(result.notes)
        paths = sorted((tmp_path / 'out/images').iterdir())
        assert len(paths) == 3 * 5
        for path in paths:
            row, column = map(int, path.stem.split('_')[1:])
            with Raster(path) as raster:
                values, transform = raster.samples().values, raster.info.georeference.transform
            np.testing.assert_array_equal(values, image[:, row : row + 32, column : column + 32])
            np.testing.assert_allclose(
                transform, scene.moved(row, column).transform, rtol=0, atol=1e-3 * resolution
            )

    def test_tiles_beyond_the_files(self, tmp_path, rng):
        image = rng.integers(1, 255, (4, 80, 80)).astype(np.uint8)
        mask = rng.integers(0, 2, (80, 80)).astype(np.uint8)
        self.write(tmp_path, image, mask)
        images, masks = self.build(tmp_path)
        cut_geo_dataset(images & masks, tmp_path / 'out', size=32, classes='ab', shares=(1, 0, 0))
        # torchgeo's grid begins in the south; 0 is the northernmost row of the tiles.
        for row in (0, 32, 64):
            for column in (0, 32, 64):
                with Raster(tmp_path / f'out/images/Images_{row}_{column}.tif') as raster:
                    samples = raster.samples()
                ids = read_raster(tmp_path / f'out/labels/Images_{row}_{column}.png')[0]
                full = np.full((96, 96), -1)
                full[16:, :80] = mask
                part = full[row : row + 32, column : column + 32]
                invalid = np.zeros((32, 32), bool) if samples.invalid is None else samples.invalid
                np.testing.assert_array_equal(invalid, part < 0)
                np.testing.assert_array_equal(ids, np.where(part < 0, 255, part))
        (train, *_) = DatasetDescription.load(tmp_path / 'out').mean
        assert train == pytest.approx(image[0].mean(), rel=1e-5)

    @pytest.mark.parametrize(
        ('stored', 'options'),
        [
            (dict(nodata=0), {}),
            ({}, dict(nodata=0)),
            (dict(valid=True), {}),
        ],
    )
    def test_invalid_pixels(self, tmp_path, rng, stored, options):
        image = rng.integers(1, 255, (4, 64, 64)).astype(np.uint8)
        image[:, 5:9] = 0
        image[0, 20] = 0  # valid: a single band
        invalid = (image == 0).all(0)
        if stored.pop('valid', False):
            stored = dict(valid=~invalid)
            image[:, 5:9] = 7
        self.write(tmp_path, image, np.ones((64, 64), np.uint8), **stored)
        images, masks = self.build(tmp_path)
        cut_geo_dataset(
            images & masks, tmp_path / 'out', size=32, classes='ab', shares=(1, 0, 0), **options
        )
        with Raster(tmp_path / 'out/images/Images_0_32.tif') as raster:
            np.testing.assert_array_equal(raster.samples().invalid, invalid[:32, 32:])
        ids = read_raster(tmp_path / 'out/labels/Images_0_32.png')[0]
        np.testing.assert_array_equal(ids == 255, invalid[:32, 32:])

    def test_samples_that_are_not_integers_become_float32(self, scene):
        folder, image, _ = scene
        images, masks = self.build(folder)

        def halve_the_last(sample):
            if sample['bounds'][1].start > 5399800:  # the northern tiles, after integer ones
                sample['image'] = sample['image'] / 2
            return sample

        images.transforms = halve_the_last
        cut_geo_dataset(
            images & masks, folder / 'out', size=160, shares=(1, 0, 0),
            label_values={10: 'a', 20: 'a', 30: 'a'},
        )  # fmt: skip
        assert DatasetDescription.load(folder / 'out').dtype == 'float32'
        top = read_raster(folder / 'out/images/Images_0_0.tif')
        bottom = read_raster(folder / 'out/images/Images_160_0.tif')
        assert (top.dtype, bottom.dtype) == (np.float32, np.float32)
        np.testing.assert_array_equal(bottom, image[:, 160:, :160])

    def test_union_of_files_with_gaps(self, tmp_path, rng):
        """Files touch or are apart; each place is written once."""
        mosaic = rng.integers(0, 255, (4, 64, 256)).astype(np.uint8)
        labels = rng.integers(0, 3, (64, 256)).astype(np.uint8)
        for name, start in (('a', 0), ('b', 64), ('c', 192)):
            part = slice(start, start + 64)
            self.write(
                tmp_path, mosaic[:, :, part], labels[:, part], name,
                reference(0, 0).moved(0, start),
            )  # fmt: skip
        images, masks = self.build(tmp_path)
        cut_geo_dataset(images & masks, tmp_path / 'out', size=32, classes='abc', shares=(1, 0, 0))
        columns = [0, 32, 64, 96, 192, 224]
        assert {path.stem for path in (tmp_path / 'out/images').iterdir()} == {
            f'Images_{row}_{column}' for row in (0, 32) for column in columns
        }
        for column in columns:
            tile = read_raster(tmp_path / f'out/images/Images_32_{column}.tif')
            np.testing.assert_array_equal(tile, mosaic[:, 32:, column : column + 32])

    def test_dates(self, tmp_path, rng):
        images = {}
        for date in ('20200101', '20210101'):
            images[date] = rng.integers(0, 255, (4, 64, 64)).astype(np.uint8)
            self.write(tmp_path, images[date], np.ones((64, 64), np.uint8), f'x_{date}')
        source, masks = self.build(tmp_path, filename_regex=r'x_(?P<date>\d+)')
        cut_geo_dataset(
            source & masks, tmp_path / 'out', size=32, classes='ab', name='x', shares=(1, 0, 0)
        )
        assert len(list((tmp_path / 'out/images').iterdir())) == 8
        for date, image in images.items():
            tile = read_raster(tmp_path / f'out/images/x-{date}_32_32.tif')
            np.testing.assert_array_equal(tile, image[:, 32:, 32:])

    def test_warped_files(self, tmp_path, rng):
        """torchgeo fills the corners of warped files with 0, in masks as in images."""
        from pyproj import CRS

        image = rng.integers(1, 255, (4, 256, 256)).astype(np.uint8)
        self.write(tmp_path, image, np.ones((256, 256), np.uint8))
        images, masks = self.build(tmp_path, options=dict(crs=CRS.from_epsg(32633)))
        result = cut_geo_dataset(
            images & masks, tmp_path / 'out', size=64, classes='ab', shares=(1, 0, 0)
        )
        assert result.description.provenance['crs'] == 'EPSG:32633'
        labelled = 0
        for path in (tmp_path / 'out/images').iterdir():
            with Raster(path) as raster:
                samples = raster.samples()
            ids = read_raster(tmp_path / f'out/labels/{path.stem}.png')[0]
            assert set(np.unique(ids)) <= {1, 255}
            assert (samples.values[:, ids == 1] > 0).all()
            invalid = np.zeros_like(ids) if samples.invalid is None else samples.invalid
            np.testing.assert_array_equal(invalid, ids == 255)
            labelled += (ids == 1).sum()
        assert 0.97 * 256**2 < labelled < 256**2

    def test_polygons(self, tmp_path, rng):
        geopandas = pytest.importorskip('geopandas')
        from shapely import box
        from torchgeo.datasets import VectorDataset

        image = rng.integers(0, 255, (4, 128, 128)).astype(np.uint8)
        self.write(tmp_path, image, np.ones((128, 128), np.uint8))
        west, north = 500000, 5400000
        shapes = [box(west + x, north - y - 40, west + x + 40, north - y) for x, y in
                  ((0.25, 0.25), (80.25, 80.25))]  # fmt: skip
        frame = geopandas.GeoDataFrame(dict(code=[1, 2]), geometry=shapes, crs='EPSG:32632')
        (tmp_path / 'polygons').mkdir()
        frame.to_file(tmp_path / 'polygons/a.geojson', driver='GeoJSON')
        images, _ = self.build(tmp_path)
        polygons = VectorDataset(
            tmp_path / 'polygons', crs=images.crs, res=images.res, label_name='code'
        )
        cut_geo_dataset(
            images & polygons, tmp_path / 'out', size=32, shares=(1, 0, 0),
            label_values={1: 'a', 2: 'b', 0: None},
        )  # fmt: skip
        expected = np.full((128, 128), 255, np.uint8)
        expected[:40, :40], expected[80:120, 80:120] = 0, 1
        checked = np.zeros((128, 128), bool)
        for path in (tmp_path / 'out/images').iterdir():
            with Raster(path) as raster:
                x, _, _, y, _, _ = raster.info.georeference.transform
                values, invalid = raster.samples().values, raster.samples().invalid
            row, column = round(north - y), round(x - west)
            ids = read_raster(tmp_path / f'out/labels/{path.stem}.png')[0]
            rows, columns = np.mgrid[row : row + 32, column : column + 32]
            valid = np.ones((32, 32), bool) if invalid is None else ~invalid
            place = rows[valid], columns[valid]
            np.testing.assert_array_equal(values[:, valid], image[:, rows[valid], columns[valid]])
            np.testing.assert_array_equal(ids[valid], expected[place])
            checked[place] = True
        assert checked[:120, :120].all()

    def test_sampler_of_the_user(self, scene):
        from torchgeo.samplers import RandomBatchGeoSampler, RandomGeoSampler

        folder, image, _ = scene
        images, masks = self.build(folder)
        both = images & masks
        sampler = RandomGeoSampler(
            both, size=64, length=20, generator=torch.Generator().manual_seed(0)
        )
        classes = {10: 'a', 20: 'b', 30: 'c'}
        result = cut_geo_dataset(
            both, folder / 'out', sampler=sampler, label_values=classes, shares=(1, 0, 0)
        )
        assert result.tiles == dict(train=20, val=0, test=0)
        for path in (folder / 'out/images').iterdir():
            with Raster(path) as raster:
                x, _, _, y, _, _ = raster.info.georeference.transform
                row, column = round(5400000 - y), round(x - 500000)
                np.testing.assert_array_equal(
                    raster.samples().values, image[:, row : row + 64, column : column + 64]
                )
        batches = RandomBatchGeoSampler(both, size=64, batch_size=2)
        with pytest.raises(DatasetError, match='expected slices of x, y and time without steps'):
            cut_geo_dataset(both, folder / 'new', sampler=batches, label_values=classes)
        assert not (folder / 'new').exists()

    @pytest.mark.parametrize(
        ('settings', 'message'),
        [
            (dict(bands=tuple('abc')), 'Images: 4 bands, expected 3 (a, b, c); set bands=(...)'),
            (dict(label_values={10: 'a', 20: 'b'}), 'Images: label values 30 ('),
            (dict(label_values=None), 'Images: the classes are unknown; set label_values={'),
            (dict(label_values=None, classes='ab'), 'Images: label values '),
            (
                dict(label_values=None, classes='ab', label_convention='rgb'),
                "label_convention='rgb': masks contain indices",
            ),
            (dict(size=512), 'Images: the sampler has no queries: the data set covers 480 x 320'),
            (dict(size=32, stride=0), 'size = 32, stride = 0: expected 0 < stride <= size'),
            (dict(palette=((1, 1, 1),)), '1 colours in the palette, 3 classes'),
            (dict(min_labelled=2), 'min_labelled = 2: expected a share'),
            (dict(sampler=[]), 'Images: the sampler has no queries'),
            (dict(size=320), '2 groups cannot be split into 3 parts'),
        ],
    )
    def test_errors(self, scene, settings, message):
        folder, *_ = scene
        images, masks = self.build(folder)
        settings = dict(size=64, label_values={10: 'a', 20: 'b', 30: 'c'}) | settings
        with pytest.raises((DatasetError, LabelError)) as error:
            cut_geo_dataset(images & masks, folder / 'out', **settings)
        assert str(error.value).startswith(message)
        assert '\n' not in str(error.value)
        assert not (folder / 'out').exists()

    def test_samples_without_image_or_mask(self, scene):
        folder, *_ = scene
        for dataset, key in zip(self.build(folder), ('mask', 'image'), strict=True):
            with pytest.raises(DatasetError, match=f'the sample has no {key}; it contains '):
                cut_geo_dataset(dataset, folder / 'out', size=64, classes='abc')

    def test_intersection_without_times(self, scene):
        from torchgeo.datasets import IntersectionDataset

        folder, *_ = scene
        both = IntersectionDataset(*self.build(folder), spatial_only=True)
        with pytest.raises(DatasetError, match='build it without spatial_only=True'):
            cut_geo_dataset(both, folder / 'out', size=64, classes='abc')

    def test_unknown_bands(self, tmp_path):
        write_raster(
            tmp_path / 'images/a.tif', np.ones((4, 64, 64), np.uint8), georeference=reference(0, 0)
        )
        write_raster(
            tmp_path / 'masks/a.tif', np.ones((64, 64), np.uint8), georeference=reference(0, 0)
        )
        images, masks = self.build(tmp_path)
        with pytest.raises(DatasetError, match='the names of the 4 bands are unknown; set bands='):
            cut_geo_dataset(images & masks, tmp_path / 'out', size=32, classes='ab')

    def test_errors_of_torchgeo(self, scene):
        folder, *_ = scene
        images, masks = self.build(folder)
        both = images & masks
        both.transforms = lambda sample: 1 / 0
        with pytest.raises(DatasetError, match='torchgeo cannot load it: division by zero'):
            cut_geo_dataset(both, folder / 'out', size=64, classes='abc')
        both.transforms = lambda sample: sample | dict(image=sample['image'][:, 1:])
        with pytest.raises(DatasetError, match='transforms must not change the size'):
            cut_geo_dataset(both, folder / 'out', size=64, classes='abc')

    def test_existing_data_sets(self, scene):
        folder, *_ = scene
        out, classes = folder / 'out', {10: 'a', 20: 'b', 30: 'c'}
        out.mkdir()
        (out / 'notes.txt').write_text('mine')
        images, masks = self.build(folder)
        settings = dict(size=64, label_values=classes)
        cut_geo_dataset(images & masks, out, **settings)
        before = (out / 'dataset.json').read_text()
        with pytest.raises(DatasetError, match=r'dataset\.json exists: choose another folder, or'):
            cut_geo_dataset(images & masks, out, **settings)
        with pytest.raises(DatasetError, match='label values'):  # the old one stays complete
            cut_geo_dataset(images & masks, out, size=32, classes='ab', overwrite=True)
        assert (out / 'dataset.json').read_text() == before
        assert len(list((out / 'images').iterdir())) == 40
        cut_geo_dataset(images & masks, out, size=32, label_values=classes, overwrite=True)
        assert len(list((out / 'images').iterdir())) == 150
        assert sorted(path.name for path in out.iterdir()) == [
            'dataset.json', 'images', 'labels', 'notes.txt', 'test.txt', 'train.txt', 'val.txt',
        ]  # fmt: skip
        own, _ = self.build(folder, images='out/images')
        with pytest.raises(DatasetError, match=r'out/images/.* would be overwritten'):
            cut_geo_dataset(own & masks, out, **settings, overwrite=True)
        DatasetDescription(bands=BANDS).save(out)
        with pytest.raises(DatasetError, match='contains a data set from another source'):
            cut_geo_dataset(images & masks, out, **settings, overwrite=True)

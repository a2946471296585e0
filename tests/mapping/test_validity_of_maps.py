"""Nodata, masks and band order in maps of a segmentor stub with known predictions."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmseg.models import SegDataPreProcessor
from osgeo import gdal, osr
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.map_plan import name_maps
from dnas_mmseg.mapping.scene import Tiling, predict_scene
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.models import MultiBandDataPreProcessor
from dnas_mmseg.raster import GeoReference, Raster, RasterError, read_raster, write_raster

BANDS = ('red', 'green', 'blue', 'nir')
FACTS = dict(classes=list(BANDS), palette=[(i, i, i) for i in range(4)])
TILING = Tiling(32, 8)


class LargestBand(nn.Module):
    """Segmentor stub: the class of a pixel is the band with the largest sample."""

    def __init__(self, bands=4):
        super().__init__()
        self.data_preprocessor = MultiBandDataPreProcessor([0.0] * bands, [1.0] * bands)
        self.dataset_meta = dict(**FACTS, bands=BANDS)

    def encode_decode(self, inputs, metas):
        assert torch.isfinite(inputs).all()
        return inputs


@pytest.fixture
def model():
    return LargestBand().eval()


def scene(rng, dtype='uint8', size=(50, 60)):
    samples = rng.integers(1, 250, (4, *size)).astype(dtype)
    samples += (samples == samples.max(0)).astype(dtype)  # no ties
    return samples


def gap():
    mask = np.zeros((50, 60), bool)
    mask[10:20, 5:40] = True
    return mask


def truth(samples, mask):
    return np.where(mask, 255, samples.argmax(0))


def mapped(model, path, out, **options):
    predict_scenes(model, [path], out, tiling=TILING, **options)
    (written,) = out.glob('*.tif')
    return read_raster(written)[0]


@pytest.mark.parametrize(
    ('dtype', 'value'),
    [('int16', -9999), ('int16', -32768), ('uint16', 65535), ('uint8', 0), ('float32', np.inf)],
)
def test_declared_nodata_never_enters_the_network(model, tmp_path, rng, dtype, value):
    samples = scene(rng, dtype)
    expected = truth(samples, gap())
    samples[:, gap()] = value
    write_raster(tmp_path / 's.tif', samples, names=BANDS, nodata=value)
    seen = []
    encode = model.encode_decode
    model.encode_decode = lambda x, metas: seen.append(x.abs().max().item()) or encode(x, metas)
    got = mapped(model, tmp_path / 's.tif', tmp_path / 'out')
    np.testing.assert_array_equal(got, expected)
    assert max(seen) <= 251


@pytest.mark.parametrize('kind', ['mask', 'alpha', 'given', 'quality', 'elevation', 'nan'])
def test_all_sources_of_validity_are_supported(model, tmp_path, rng, kind):
    samples = scene(rng, 'float32' if kind in ('nan', 'elevation') else 'uint8')
    expected, options = truth(samples, gap()), {}
    path = tmp_path / 's.tif'
    if kind == 'mask':
        write_raster(path, samples, names=BANDS, valid=~gap())
    elif kind == 'nan':
        samples[1, gap()] = -np.inf
        write_raster(path, samples, names=BANDS)
    elif kind == 'given':  # black borders without a nodata tag
        samples[:, gap()] = 0
        write_raster(path, samples, names=BANDS)
        options = dict(nodata=0)
    elif kind == 'alpha':
        alpha = np.where(gap(), 0, 255).astype(np.uint8)
        write_raster(path, np.concatenate([samples, alpha[None]]), names=(*BANDS, 'alpha'))
    elif kind == 'quality':
        samples[:, gap()] = 0
        quality = np.full((1, 50, 60), 7, np.uint8)
        write_raster(path, np.concatenate([samples, quality]), names=(*BANDS, 'qa'), nodata=0)
    else:
        samples[:, gap()] = np.nan
        elevation = np.full((1, 50, 60), np.nan, np.float32)
        write_raster(path, np.concatenate([samples, elevation]), names=(*BANDS, 'dem'))
    np.testing.assert_array_equal(mapped(model, path, tmp_path / 'out', **options), expected)


def tagged(path, samples, colours):
    """Write a file with colour interpretations but no band descriptions."""
    dataset = gdal.GetDriverByName('GTiff').Create(
        str(path), samples.shape[2], samples.shape[1], len(samples), gdal.GDT_Byte
    )
    dataset.WriteArray(samples)
    for i, colour in enumerate(colours):
        dataset.GetRasterBand(i + 1).SetColorInterpretation(colour)


def test_bands_are_identified_by_colour_or_alias(model, tmp_path, rng):
    samples = scene(rng)
    expected = samples.argmax(0)
    reordered = samples[[2, 1, 0, 3]]  # blue, green, red, nir
    write_raster(tmp_path / 'b.tif', reordered, names=('B02', 'B03', 'B04', 'B08'))
    np.testing.assert_array_equal(mapped(model, tmp_path / 'b.tif', tmp_path / '1'), expected)
    colours = (gdal.GCI_BlueBand, gdal.GCI_GreenBand, gdal.GCI_RedBand, gdal.GCI_Undefined)
    tagged(tmp_path / 'c.tif', reordered, colours)
    np.testing.assert_array_equal(mapped(model, tmp_path / 'c.tif', tmp_path / '2'), expected)


def test_alpha_is_used_as_nir_only_by_name(model, tmp_path, rng):
    samples = scene(rng)
    tagged(tmp_path / 'rgba.tif', samples, ())  # GDAL tags four bands as red, green, blue, alpha
    with pytest.raises(UserError, match='band 4 is tagged as alpha'):
        predict_scenes(model, [tmp_path / 'rgba.tif'], tmp_path / 'out')
    notes = predict_scenes(
        model, [tmp_path / 'rgba.tif'], tmp_path / 'out', bands=BANDS, tiling=TILING
    )
    np.testing.assert_array_equal(read_raster(tmp_path / 'out/rgba.tif')[0], samples.argmax(0))
    ((note, *_),) = notes.values()
    assert 'band 4 is alpha in the file, but used as nir, as set' in note


def test_an_assumed_band_order_is_reported(model, tmp_path, rng):
    write_raster(tmp_path / 's.tif', scene(rng))
    ((note, *_),) = predict_scenes(model, [tmp_path / 's.tif'], tmp_path / 'out').values()
    assert 'has no band names: assumed to be red, green, blue, nir' in note


def test_errors_in_the_network_are_not_changed(model, tmp_path, rng):
    write_raster(tmp_path / 's.tif', scene(rng), names=BANDS)

    def fail(inputs, metas):
        raise RuntimeError('CUDA out of memory')

    model.encode_decode = fail
    with pytest.raises(RuntimeError, match=r'^CUDA out of memory$'):
        predict_scene(model, tmp_path / 's.tif', tmp_path / 'm.tif')
    assert not (tmp_path / 'm.tif').exists()


@pytest.mark.parametrize('dtype', [gdal.GDT_UInt32, gdal.GDT_UInt16])
def test_flips_support_unsigned_samples(model, tmp_path, rng, dtype):
    samples = scene(rng, 'uint16')
    path = str(tmp_path / 's.tif')
    dataset = gdal.GetDriverByName('GTiff').Create(path, 60, 50, 4, dtype)
    dataset.WriteArray(samples)
    dataset = None
    tiling = replace(TILING, flips=True)
    predict_scene(model, path, tmp_path / 'm.tif', tiling=tiling)
    np.testing.assert_array_equal(read_raster(tmp_path / 'm.tif')[0], samples.argmax(0))


def test_virtual_paths_of_gdal(model, tmp_path, rng):
    samples = scene(rng)
    write_raster(tmp_path / 's.tif', samples, names=BANDS)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.write(tmp_path / 's.tif', 'deep/s.tif')
    inside = f'/vsizip/{tmp_path}/a.zip/deep/s.tif'
    for source, name in ((inside, 's'), (f'GTIFF_RAW:{tmp_path}/s.tif', 's.tif')):
        out = tmp_path / name.replace('.', '_')
        predict_scenes(model, [source], out, tiling=TILING)
        np.testing.assert_array_equal(read_raster(out / f'{name}.tif')[0], samples.argmax(0))
    with pytest.raises(RasterError, match=r'b\.tif: no such file'):
        Raster(f'/vsizip/{tmp_path}/a.zip/b.tif').info  # noqa: B018
    with pytest.raises(RasterError, match='no such file'):
        Raster(f'{tmp_path}/none.tif').info  # noqa: B018


@pytest.mark.skipif(gdal.GetDriverByName('netCDF') is None, reason='GDAL has no netCDF driver')
def test_containers_list_their_rasters(tmp_path, rng):
    pieces = []
    for name in ('a', 'b'):
        write_raster(tmp_path / f'{name}.tif', rng.integers(0, 9, (1, 8, 8)).astype(np.uint8))
        pieces.append(gdal.Open(str(tmp_path / f'{name}.tif')))
    path = str(tmp_path / 'x.nc')
    multi = gdal.GetDriverByName('netCDF').CreateMultiDimensional(path)
    group = multi.GetRootGroup()
    y, x = group.CreateDimension('y', '', '', 8), group.CreateDimension('x', '', '', 8)
    for name, piece in zip(('first', 'second'), pieces, strict=True):
        array = group.CreateMDArray(name, [y, x], gdal.ExtendedDataType.Create(gdal.GDT_Byte))
        array.Write(piece.ReadAsArray())
    array = group = multi = y = x = None
    with pytest.raises(
        RasterError, match=r'a container of several rasters; choose one of .*second'
    ):
        Raster(path).info  # noqa: B018
    assert Raster(f'NETCDF:"{path}":first').info.shape == (8, 8)


def test_maps_of_equally_named_scenes_get_folder_names():
    names = name_maps(['a/one/B.tif', 'a/two/B.tif', 'C.tif', 'x/one/D.tif', 'y/one/D.tif'])
    assert list(names.values()) == ['one_B', 'two_B', 'C', 'x_one_D', 'y_one_D']
    with pytest.raises(UserError, match='is listed twice'):
        name_maps(['a.tif', 'a.tif'])


def geographic(epoch=0.0):
    system = osr.SpatialReference()
    system.ImportFromEPSG(4326)
    return GeoReference(system.ExportToWkt(), epoch)


def test_maps_have_gcps_rpcs_and_epoch_of_the_scene(model, tmp_path, rng):
    samples = scene(rng)
    corners = ((0, 0, 10, 50, 0), (60, 0, 11, 50, 0), (0, 50, 10, 49, 0))
    gcps = tuple(tuple(map(float, corner)) for corner in corners)
    offsets = ('LINE_OFF', 'SAMP_OFF', 'LAT_OFF', 'LONG_OFF', 'HEIGHT_OFF')
    scales = ('LINE_SCALE', 'SAMP_SCALE', 'LAT_SCALE', 'LONG_SCALE', 'HEIGHT_SCALE')
    series = [f'{p}_{q}_COEFF' for p in ('LINE', 'SAMP') for q in ('NUM', 'DEN')]
    rpc = dict.fromkeys((*offsets, *scales), '7') | {key: ' '.join(['1'] * 20) for key in series}
    places = {
        'gcps': GeoReference(geographic().crs, gcps=gcps),
        'rpc': GeoReference(rpc=tuple(sorted(rpc.items()))),
        'epoch': GeoReference(geographic().crs, 2020.5, (10.0, 0.1, 0.0, 50.0, 0.0, -0.1)),
    }
    for name, place in places.items():
        write_raster(tmp_path / f'{name}.tif', samples, names=BANDS, georeference=place)
        notes = predict_scenes(model, [tmp_path / f'{name}.tif'], tmp_path / 'out')
        assert list(notes.values()) == [[]], name
        got = Raster(tmp_path / f'out/{name}.tif').info.georeference
        assert got.gcps == place.gcps
        assert got.epoch == place.epoch
        assert got.transform == place.transform
        for key, value in place.rpc:
            assert [*map(float, dict(got.rpc)[key].split())] == [*map(float, value.split())]


class Halving(nn.Module):
    """Network that supports multiples of 16 only, as U-Nets do, with a stock preprocessor."""

    def __init__(self, **config):
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(
            mean=[100.0] * 3, std=[10.0] * 3, size_divisor=16, **config
        )
        self.dataset_meta = dict(classes=('a', 'b', 'c'))

    def encode_decode(self, inputs, metas):
        assert inputs.shape[2] % 16 == inputs.shape[3] % 16 == 0, 'not divisible'
        return inputs


@pytest.mark.parametrize('config', [{}, dict(test_cfg=dict(size_divisor=32))])
def test_windows_are_padded_for_networks_that_require_it(tmp_path, rng, config):
    samples = scene(rng, 'float32')[:3]
    samples[:, gap()] = np.nan
    write_raster(tmp_path / 's.tif', samples)
    predict_scene(
        Halving(**config).eval(),
        tmp_path / 's.tif',
        tmp_path / 'm.tif',
        tiling=Tiling(40, 8),
    )
    expected = np.where(gap(), 255, np.nan_to_num(samples).argmax(0))
    np.testing.assert_array_equal(read_raster(tmp_path / 'm.tif')[0], expected)

import itertools
import os
import pickle

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import (
    GeoReference,
    Raster,
    RasterError,
    Window,
    is_virtual,
    raster_stem,
    read_raster,
    source_files,
    write_raster,
)

TYPES = {
    'uint8': gdal.GDT_Byte,
    'int16': gdal.GDT_Int16,
    'uint16': gdal.GDT_UInt16,
    'float32': gdal.GDT_Float32,
}


def write_plain(path, samples, *options):
    """Write with GDAL directly, with any creation options."""
    bands, height, width = samples.shape
    kind = TYPES[samples.dtype.name]
    dataset = gdal.GetDriverByName('GTiff').Create(
        str(path), width, height, bands, kind, options=list(options)
    )
    for i, band in enumerate(samples):
        dataset.GetRasterBand(i + 1).WriteArray(band)
    return dataset


@pytest.fixture
def samples(rng):
    return rng.integers(0, 256, (4, 37, 53)).astype(np.uint8)


@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('photometric', ['CMYK', 'RGB', 'MINISBLACK', 'MINISWHITE'])
def test_four_bands_are_read_as_stored(tmp_path, samples, dtype, photometric):
    stored = samples.astype(dtype)
    layouts = itertools.product(
        ('PIXEL', 'BAND'), ('NONE', 'DEFLATE', 'LZW', 'PACKBITS'), ('YES', 'NO')
    )
    for i, (interleave, compression, tiled) in enumerate(layouts):
        path = tmp_path / f'{i}.tif'
        write_plain(
            path,
            stored,
            f'PHOTOMETRIC={photometric}',
            f'INTERLEAVE={interleave}',
            f'COMPRESS={compression}',
            f'TILED={tiled}',
        )
        read = read_raster(path)
        assert read.dtype == stored.dtype
        np.testing.assert_array_equal(read, stored)


def test_plain_open_converts_cmyk(tmp_path, samples):
    """A plain open converts these samples; if this test fails, GTIFF_RAW is no longer needed."""
    write_plain(tmp_path / 'cmyk.tif', samples, 'PHOTOMETRIC=CMYK')
    plain = gdal.Open(str(tmp_path / 'cmyk.tif')).ReadAsArray()
    assert (plain[3] == 255).all()
    np.testing.assert_array_equal(read_raster(tmp_path / 'cmyk.tif'), samples)


@pytest.mark.parametrize('alpha', ['YES', 'NO', 'UNSPECIFIED', 'PREMULTIPLIED'])
def test_rgba_and_unspecified_extra_bands(tmp_path, samples, alpha):
    write_plain(tmp_path / 'a.tif', samples, 'PHOTOMETRIC=RGB', f'ALPHA={alpha}')
    np.testing.assert_array_equal(read_raster(tmp_path / 'a.tif'), samples)


@pytest.mark.parametrize('bands', [1, 2, 3, 5, 13])
def test_any_number_of_bands(tmp_path, rng, bands):
    stored = rng.integers(0, 60000, (bands, 20, 31)).astype(np.uint16)
    write_plain(tmp_path / 'a.tif', stored)
    np.testing.assert_array_equal(read_raster(tmp_path / 'a.tif'), stored)


def test_palette_images_are_read_as_indices(tmp_path, samples):
    dataset = write_plain(tmp_path / 'a.tif', samples[:1], 'PHOTOMETRIC=PALETTE')
    table = gdal.ColorTable()
    for value in range(256):
        table.SetColorEntry(value, (255 - value, 7, 9, 255))
    dataset.GetRasterBand(1).SetColorTable(table)
    dataset = None
    np.testing.assert_array_equal(read_raster(tmp_path / 'a.tif'), samples[:1])


def test_info(tmp_path, samples):
    transform = (1000.0, 4.0, 0.0, 2000.0, 0.0, -4.0)
    path = tmp_path / 'a.tif'
    place = GeoReference(transform=transform)
    write_raster(path, samples, names=('NIR', 'Red', 'x', 'y'), nodata=0, georeference=place)
    with Raster(path) as raster:
        info = raster.info
    assert (info.shape, info.bands, info.dtype) == ((37, 53), 4, 'uint8')
    assert info.names == ('nir', 'red', 'x', 'y')
    assert info.nodata == (0, 0, 0, 0)
    assert info.georeference == place
    write_plain(tmp_path / 'b.tif', samples)
    info = Raster(tmp_path / 'b.tif').info
    assert (info.nodata, info.georeference) == ((None,) * 4, GeoReference())
    assert info.band_names == ('red', 'green', 'blue', 'alpha')  # GDAL's default for four bands


def test_windows(tmp_path, samples):
    write_raster(tmp_path / 'a.tif', samples)
    raster = Raster(tmp_path / 'a.tif')
    window = Window(col_off=11, row_off=5, width=7, height=20)
    np.testing.assert_array_equal(raster.read(window), samples[:, 5:25, 11:18])
    for outside in (Window(0, -1, 2, 2), Window(0, 30, 2, 8), Window(50, 0, 4, 2)):
        with pytest.raises(RasterError, match='is not inside 37 rows x 53 columns'):
            raster.read(outside)


def test_pickled_reader_opens_its_own_handle(tmp_path, samples):
    write_raster(tmp_path / 'a.tif', samples)
    raster = Raster(tmp_path / 'a.tif')
    raster.read()
    again = pickle.loads(pickle.dumps(raster))
    np.testing.assert_array_equal(again.read(), samples)


@pytest.mark.parametrize('length', [0, 3, 60, 400, 0.5, 0.99])
def test_error_names_truncated_file(tmp_path, rng, length):
    path = tmp_path / 'scene.tif'
    write_raster(path, rng.integers(0, 255, (4, 100, 100)).astype(np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: length if isinstance(length, int) else int(length * len(whole))])
    with pytest.raises(RasterError, match=r'scene\.tif: '):
        read_raster(path)


def test_error_names_missing_and_non_raster_files(tmp_path):
    with pytest.raises(RasterError, match=r'nowhere\.tif: no such file'):
        read_raster(tmp_path / 'nowhere.tif')
    (tmp_path / 'text.tif').write_text('no raster' * 100)
    with pytest.raises(RasterError, match=r'text\.tif: not a raster'):
        read_raster(tmp_path / 'text.tif')


def test_exception_switches_are_restored(tmp_path):
    """The GDAL exception switches of the process are restored."""
    gdal.DontUseExceptions()
    with pytest.raises(RasterError):
        read_raster(tmp_path / 'nowhere.tif')
    assert not gdal.GetUseExceptions()


def test_real_tiles(shared):
    info = Raster(shared / 'data/naip_rgbn/images/naip_13476.tif').info
    assert (info.bands, info.dtype, info.names) == (4, 'uint8', ('red', 'green', 'blue', 'nir'))
    assert 'UTM zone 17N' in info.georeference.crs
    assert Raster(shared / 'data/s2_uint16/images/s2_0011.tif').info.dtype == 'uint16'


def test_forked_worker_opens_its_own_handle(tmp_path, samples):
    write_raster(tmp_path / 'a.tif', samples)
    raster = Raster(tmp_path / 'a.tif')
    raster.read()
    inherited, (reader, writer) = raster._handle, os.pipe()
    child = os.fork()
    if not child:
        same = np.array_equal(raster.read(), samples)
        os.write(writer, b'1' if same and raster._handle is not inherited else b'0')
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b'1'
    assert raster._handle is inherited


def test_existing_file_with_colon_is_not_virtual(tmp_path):
    path = tmp_path / 'scene_T10:30.tif'
    write_raster(path, np.zeros((1, 4, 4), np.uint8))
    assert not is_virtual(path)
    assert raster_stem(path) == 'scene_T10:30'
    assert is_virtual('NETCDF:"x.nc":B1')
    assert is_virtual('/vsizip/a.zip/b.tif')


def test_vector_file_error_suggests_rasterizing(tmp_path):
    for name in ('roofs.geojson', 'roofs.gpkg'):
        (tmp_path / name).write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(RasterError, match=r'it contains polygons: dnas convert --class-field'):
            read_raster(tmp_path / name)


def test_source_files_include_vrt_sources(tmp_path):
    write_raster(tmp_path / 'a.tif', np.zeros((1, 4, 4), np.uint8))
    vrt = tmp_path / 'a.vrt'
    gdal.Translate(str(vrt), str(tmp_path / 'a.tif'), format='VRT')
    assert set(source_files(vrt)) == {vrt, tmp_path / 'a.tif'}


def sparse_tiff(path, bands=2, nodata=None, alpha=False):
    """Write a TIFF of 128 x 128 in blocks of 32 of which only the upper left one is stored."""
    options = ['TILED=YES', 'BLOCKXSIZE=32', 'BLOCKYSIZE=32', 'SPARSE_OK=TRUE']
    dataset = gdal.GetDriverByName('GTiff').Create(str(path), 128, 128, bands, 1, options)
    for i in range(bands):
        band = dataset.GetRasterBand(i + 1)
        last = alpha and i == bands - 1
        band.SetColorInterpretation(gdal.GCI_AlphaBand if last else gdal.GCI_GrayIndex)
        if nodata is not None:
            band.SetNoDataValue(nodata)
    dataset.WriteArray(np.full((bands, 32, 32), 5, np.uint8))


STORED, PARTLY, MISSING = Window(0, 0, 32, 32), Window(16, 16, 32, 32), Window(40, 40, 60, 80)


@pytest.mark.parametrize(
    ('options', 'nodata', 'empty'),
    [
        (dict(nodata=0), None, True),
        (dict(nodata=9), None, True),
        (dict(), None, False),  # missing blocks are valid samples of 0
        (dict(), 0, True),
        (dict(nodata=9), 0, True),
        (dict(), 5, False),
        (dict(alpha=True), None, True),
        (dict(alpha=True, nodata=255), None, True),
    ],
)
def test_windows_of_missing_blocks_are_empty(tmp_path, options, nodata, empty):
    sparse_tiff(tmp_path / 's.tif', **options)
    with Raster(tmp_path / 's.tif', nodata) as raster:
        for window in (STORED, PARTLY, MISSING):
            invalid = raster.samples(window).invalid
            all_invalid = invalid is not None and bool(invalid.all())
            assert raster.is_empty(window) == (empty and window == MISSING)
            assert all_invalid or not raster.is_empty(window)


@pytest.mark.parametrize('declared', ['-3.40282346600000016e+38', '-9999.9', 'nan'])
def test_windows_in_gaps_of_a_float_vrt_are_empty(tmp_path, declared):
    """Tags are rounded text, which float32 does not hold exactly."""
    (tmp_path / 'v.vrt').write_text(
        '<VRTDataset rasterXSize="128" rasterYSize="128"><VRTRasterBand dataType="Float32" '
        f'band="1"><NoDataValue>{declared}</NoDataValue></VRTRasterBand></VRTDataset>'
    )
    with Raster(tmp_path / 'v.vrt') as raster:
        assert raster.is_empty(MISSING)


@pytest.mark.parametrize('declared', [0, 7, None, -9999, 'nan'])
def test_windows_in_gaps_of_a_vrt_are_empty_if_it_declares_nodata(tmp_path, declared):
    """A nodata value that the sample type does not hold is no value of a sample."""
    write_raster(tmp_path / 'a.tif', np.full((1, 32, 32), 5, np.uint8))
    path = tmp_path / 'v.vrt'
    tag = '' if declared is None else f'<NoDataValue>{declared}</NoDataValue>'
    path.write_text(
        f'<VRTDataset rasterXSize="128" rasterYSize="128"><VRTRasterBand dataType="Byte" band="1">'
        f'{tag}<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1'
        '</SourceBand><DstRect xOff="0" yOff="0" xSize="32" ySize="32"/></SimpleSource>'
        '</VRTRasterBand></VRTDataset>'
    )
    with Raster(path) as raster:
        found = [raster.is_empty(window) for window in (STORED, PARTLY, MISSING)]
        assert found == [False, False, declared in (0, 7)]
        assert (raster.read(MISSING) == (7 if declared == 7 else 0)).all()


def test_windows_where_the_mask_is_0_are_empty(tmp_path):
    mask = np.zeros((128, 128), bool)
    mask[:32, :32] = True
    dataset = gdal.GetDriverByName('GTiff').Create(str(tmp_path / 'm.tif'), 128, 128, 2, 1)
    dataset.WriteArray(np.full((2, 128, 128), 5, np.uint8))
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(mask.astype(np.uint8) * 255)
    dataset = None
    with Raster(tmp_path / 'm.tif') as raster:
        found = [raster.is_empty(window) for window in (STORED, PARTLY, MISSING)]
    assert found == [False, False, True]

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import Raster, RasterError, Samples, write_raster
from dnas_mmseg.raster.validity import equals_nodata

GAP = (slice(None), slice(2, 5))


def samples_with_gap(dtype, value, bands=4):
    samples = np.arange(1, 1 + bands * 64).reshape(bands, 8, 8).astype(dtype)
    samples[:, 2:5] = value
    return samples


def expected():
    mask = np.zeros((8, 8), bool)
    mask[2:5] = True
    return mask


@pytest.mark.parametrize(
    ('dtype', 'value'),
    [
        ('int16', -9999), ('int16', -32768), ('uint16', 65535), ('uint16', 0), ('uint8', 255),
        ('float32', -9999), ('float32', np.nan), ('float32', np.inf), ('float32', -np.inf),
        ('float32', np.finfo(np.float32).min),
    ],
)  # fmt: skip
def test_declared_nodata_of_each_type(tmp_path, dtype, value):
    stored = samples_with_gap(dtype, value)
    write_raster(tmp_path / 'a.tif', stored, nodata=float(value))
    samples = Raster(tmp_path / 'a.tif').samples()
    np.testing.assert_array_equal(samples.invalid, expected())
    values = samples.without_invalid()
    assert values.dtype == np.float32
    assert np.isnan(values[:, 2:5]).all()
    np.testing.assert_array_equal(values[:, 5:], stored[:, 5:])
    np.testing.assert_array_equal(samples.values, stored)


def test_valid_image_keeps_its_type(tmp_path):
    stored = samples_with_gap('uint16', 7)
    write_raster(tmp_path / 'a.tif', stored, nodata=0)
    samples = Raster(tmp_path / 'a.tif').samples()
    assert samples.invalid is None
    assert samples.without_invalid().dtype == np.uint16


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_invalid_without_a_tag(tmp_path, value):
    stored = samples_with_gap('float32', 1)
    stored[2, 2:5] = value  # in one band
    write_raster(tmp_path / 'a.tif', stored)
    np.testing.assert_array_equal(Raster(tmp_path / 'a.tif').samples().invalid, expected())


def test_nodata_requires_all_declaring_bands():
    values = np.array([[[0, 0, 5]], [[0, 7, 5]]], np.uint8)
    np.testing.assert_array_equal(Samples(values, (0, 0)).invalid, [[True, False, False]])
    np.testing.assert_array_equal(Samples(values, (0, None)).invalid, [[True, True, False]])
    assert Samples(values, (None, None)).invalid is None
    assert Samples(values, (9, -9999)).invalid is None
    user = Samples(values, (None, None), user_nodata=5)
    np.testing.assert_array_equal(user.invalid, [[False, False, True]])


def test_rounded_nodata_tags_match():
    smallest = np.array([np.finfo(np.float32).min, -3.4e38, 0.1, 1000.004], np.float32)
    np.testing.assert_array_equal(equals_nodata(smallest, -3.40282e38), [True, False, False, False])
    np.testing.assert_array_equal(equals_nodata(smallest, 0.1), [False, False, True, False])
    assert not equals_nodata(smallest, 1000.0).any()
    whole = np.array([0, 255], np.uint8)
    assert not equals_nodata(whole, -9999).any()
    assert not equals_nodata(whole, 254.5).any()


@pytest.mark.parametrize('internal', ['YES', 'NO'])
def test_file_masks(tmp_path, internal):
    stored = samples_with_gap('uint8', 9)
    path = str(tmp_path / 'a.tif')
    gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', internal)
    dataset = gdal.GetDriverByName('GTiff').Create(
        path, 8, 8, 4, gdal.GDT_Byte, ['PHOTOMETRIC=MINISBLACK']
    )
    dataset.WriteArray(stored)
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(np.where(expected(), 0, 255).astype('u1'))
    dataset = None
    gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', None)
    assert (tmp_path / 'a.tif.msk').exists() == (internal == 'NO')
    np.testing.assert_array_equal(Raster(path).samples().invalid, expected())
    half = Raster(path).samples(side=4)
    assert half.values.shape == (4, 4, 4)
    assert half.invalid.any()


def test_alpha_masks_unless_selected(tmp_path):
    stored = samples_with_gap('uint8', 9, bands=5)
    stored[4] = np.where(expected(), 0, 255)
    stored[4, 0] = 128  # half transparent is valid
    dataset = gdal.GetDriverByName('GTiff').Create(str(tmp_path / 'a.tif'), 8, 8, 5, gdal.GDT_Byte)
    dataset.GetRasterBand(5).SetColorInterpretation(gdal.GCI_AlphaBand)
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_Undefined)
    dataset.WriteArray(stored)
    dataset = None
    raster = Raster(tmp_path / 'a.tif')
    assert raster.info.band_names[4] == 'alpha'
    samples = raster.samples()
    np.testing.assert_array_equal(samples.values, stored[:4])
    np.testing.assert_array_equal(samples.invalid, expected())
    everything = raster.samples(bands=range(5))
    assert everything.select(range(5)).invalid is None  # a selected alpha band masks nothing
    np.testing.assert_array_equal(everything.select((0, 2)).invalid, expected())


def test_unselected_bands_do_not_affect_validity(tmp_path):
    stored = samples_with_gap('float32', 0, bands=5)
    stored[4] = 7  # quality band: valid in the gap
    write_raster(tmp_path / 'quality.tif', stored, nodata=0)
    raster = Raster(tmp_path / 'quality.tif')
    assert raster.samples().invalid is None
    np.testing.assert_array_equal(raster.samples(bands=range(4)).invalid, expected())
    stored[4] = np.nan  # elevation band: invalid everywhere
    write_raster(tmp_path / 'elevation.tif', stored, nodata=0)
    samples = Raster(tmp_path / 'elevation.tif').samples(bands=range(5))
    assert samples.invalid.all()
    np.testing.assert_array_equal(samples.select(range(4)).invalid, expected())


def test_bands_of_different_types(tmp_path):
    write_raster(tmp_path / 'a.tif', samples_with_gap('uint8', 3, bands=1))
    write_raster(tmp_path / 'b.tif', samples_with_gap('float32', 0.5, bands=1))
    vrt = f"""<VRTDataset rasterXSize="8" rasterYSize="8">
      <VRTRasterBand dataType="Byte" band="1"><SimpleSource>
        <SourceFilename>{tmp_path}/a.tif</SourceFilename></SimpleSource></VRTRasterBand>
      <VRTRasterBand dataType="Float32" band="2"><SimpleSource>
        <SourceFilename>{tmp_path}/b.tif</SourceFilename></SimpleSource></VRTRasterBand>
    </VRTDataset>"""
    (tmp_path / 'm.vrt').write_text(vrt)
    raster = Raster(tmp_path / 'm.vrt')
    assert raster.read().dtype == np.float32
    assert raster.read()[1, 3, 3] == np.float32(0.5)
    assert raster.samples(bands=[0]).values.dtype == np.uint8
    assert raster.info.dtype_of([0]) == 'uint8'


def test_complex_samples_raise(tmp_path):
    gdal.GetDriverByName('GTiff').Create(str(tmp_path / 'c.tif'), 4, 4, 1, gdal.GDT_CFloat32)
    with pytest.raises(RasterError, match=r'complex samples .CFloat32.: store amplitude'):
        Raster(tmp_path / 'c.tif').samples()
    with pytest.raises(RasterError, match='complex samples'):
        Raster(tmp_path / 'c.tif').read()

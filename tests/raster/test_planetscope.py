"""PlanetScope products."""

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import (
    Raster,
    RasterError,
    build_scene_vrt,
    detect_scene,
    read_raster,
    write_raster,
)

from .products import PLANET, place, uint16, write_planet

EIGHT = ('coastal', 'blue', 'green_i', 'green', 'yellow', 'red', 'rededge', 'nir')


@pytest.mark.parametrize(
    ('suffix', 'names', 'scale'),
    [
        ('3B_AnalyticMS_SR_8b_harmonized_clip', EIGHT, 1e-4),
        ('3B_AnalyticMS', ('blue', 'green', 'red', 'nir'), 1.0),
        ('3B_AnalyticMS_SR', ('blue', 'green', 'red', 'nir'), 1e-4),
        ('BGRN_SR', ('blue', 'green', 'red', 'nir'), 1e-4),
    ],
)
def test_bands_by_name(tmp_path, rng, suffix, names, scale):
    samples = uint16(rng, len(names), 6, 5)
    scene = detect_scene(write_planet(tmp_path / 'a', samples, suffix))
    assert (scene.name, tuple(scene.bands)) == (PLANET, names)
    assert scene.product == f'PlanetScope {len(names)} bands'
    path = build_scene_vrt(scene, tmp_path / 'run', bands=('nir', 'red'))
    with Raster(path) as raster:
        info = raster.info
    assert (info.names, info.nodata) == (('nir', 'red'), (0.0, 0.0))
    assert info.scaling == ((scale, 0.0),) * 2
    assert info.acquired == '2023-06-15 10:36:29'
    expected = samples[[names.index('nir'), names.index('red')]]
    np.testing.assert_array_equal(read_raster(path), expected)


def test_a_fourth_band_tagged_as_alpha_is_near_infrared(tmp_path, rng):
    samples = uint16(rng, 4, 6, 5)
    folder = write_planet(tmp_path / 'a', samples, '3B_AnalyticMS')
    dataset = gdal.Open(str(folder / f'{PLANET}_3B_AnalyticMS.tif'), gdal.GA_Update)
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_AlphaBand)
    dataset = None
    path = build_scene_vrt(detect_scene(folder), tmp_path / 'run')
    with Raster(path) as raster:
        assert raster.info.names == ('blue', 'green', 'red', 'nir')
        assert not raster.info.has_mask
    np.testing.assert_array_equal(read_raster(path), samples)


def test_pixels_that_are_not_clear_are_masked(tmp_path, rng):
    udm2 = np.ones((8, 6, 5), np.uint8)
    udm2[0, 2, 3] = udm2[0, 5, 0] = 0
    scene = detect_scene(write_planet(tmp_path / 'a', uint16(rng, 8, 6, 5), udm2=udm2))
    path = build_scene_vrt(scene, tmp_path / 'run', mask_values=[0])
    with Raster(path) as raster:
        invalid = raster.samples().invalid
    assert np.argwhere(invalid).tolist() == [[2, 3], [5, 0]]
    with pytest.raises(RasterError, match='mask value bit1, but UDM2 clear has values instead'):
        build_scene_vrt(scene, tmp_path / 'run', mask_values=['bit1'])


def test_other_images(tmp_path, rng):
    write_planet(tmp_path / 'a', uint16(rng, 5, 6, 5), '3B_AnalyticMS')
    with pytest.raises(RasterError, match='5 bands, expected the 4 or 8 bands of PlanetScope'):
        detect_scene(tmp_path / 'a')
    names = ('red', 'green', 'blue', 'nir')
    write_planet(tmp_path / 'b', uint16(rng, 4, 6, 5), '3B_AnalyticMS', names=names)
    with pytest.raises(RasterError, match='band 1 is described as red, expected blue'):
        detect_scene(tmp_path / 'b')
    for suffix in ('3B_AnalyticMS', '3B_AnalyticMS_SR'):
        write_planet(tmp_path / 'c', uint16(rng, 4, 6, 5), suffix)
    with pytest.raises(RasterError, match=rf'2 products \({PLANET}_3B_AnalyticMS\.tif, '):
        detect_scene(tmp_path / 'c')
    write_planet(tmp_path / 'd', uint16(rng, 4, 6, 5), '3B_AnalyticMS_DN_udm')
    assert detect_scene(tmp_path / 'd') is None


def test_sr_alone_names_no_planetscope_product(tmp_path, rng):
    write_raster(tmp_path / 'a/HLS_SR.tif', uint16(rng, 4, 6, 5), georeference=place(3.0))
    assert detect_scene(tmp_path / 'a') is None
    write_raster(tmp_path / 'a/HLS_udm2.tif', uint16(rng, 8, 6, 5), georeference=place(3.0))
    assert detect_scene(tmp_path / 'a').product == 'PlanetScope 4 bands'

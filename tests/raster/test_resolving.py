"""Files to open for scenes of several files."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import (
    Raster,
    RasterError,
    find_scenes_of,
    read_raster,
    resolve_scenes,
    source_files,
    write_raster,
)

from .products import LANDSAT_L2, SAFE_L2A, uint16, write_landsat, write_planet, write_safe


def test_rasters_pass_and_products_become_vrts(tmp_path, rng):
    write_raster(tmp_path / 'a.tif', uint16(rng, 1, 4, 4))
    safe = write_safe(tmp_path, {(b, 10): uint16(rng, 1, 8, 8) for b in ('B03', 'B04')})
    landsat = write_landsat(
        tmp_path / 'landsat', {b: uint16(rng, 1, 8, 8) for b in ('SR_B3', 'SR_B4')}, mtl=''
    )
    for band in ('red', 'green'):
        write_raster(tmp_path / f'p_{band}.tif', uint16(rng, 1, 4, 4))
    names = [tmp_path / 'a.tif', safe, landsat, tmp_path / 'p_{band}.tif']
    found = resolve_scenes(names, tmp_path / 'run', bands=('red', 'green'))
    assert [scene.source for scene in found] == [str(name) for name in names]
    stems = [SAFE_L2A.removesuffix('.SAFE'), LANDSAT_L2, 'p']
    assert [scene.path for scene in found] == [
        str(tmp_path / 'a.tif'), *(str(tmp_path / f'run/{stem}.vrt') for stem in stems),
    ]  # fmt: skip
    assert [Raster(scene.path).info.names for scene in found[1:]] == [('red', 'green')] * 3
    assert [scene.notes for scene in found] == [
        (),
        (f'{safe}: Sentinel-2 L2A, bands red, green at 10 m; scale and offset 0.0001 and -0.1',),
        (
            f'{landsat}: Landsat 8 L2SP, bands red, green at 30 m; scale and offset 2.75e-05 and '
            '-0.2',
        ),
        (f'{tmp_path}/p_{{band}}.tif: one file per band, bands red, green',),
    ]


def test_scenes_of_one_name_have_different_vrts(tmp_path, rng):
    images = {'SR_B4': uint16(rng, 1, 8, 8)}
    folders = [write_landsat(tmp_path / f'{n}/landsat', images, mtl='') for n in 'ab']
    paths = [Path(scene.path) for scene in resolve_scenes(folders, tmp_path / 'run')]
    assert [path.name for path in paths] == [f'{n}_{LANDSAT_L2}.vrt' for n in 'ab']


def test_relative_paths_are_opened_from_everywhere(tmp_path, rng, monkeypatch):
    images = {'SR_B4': uint16(rng, 1, 8, 8)}
    write_landsat(tmp_path / 'in', images, mtl='')
    monkeypatch.chdir(tmp_path)
    (scene,) = resolve_scenes(['in'], 'run')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    np.testing.assert_array_equal(read_raster(scene.path), images['SR_B4'])


def test_source_files_include_archives(tmp_path, rng):
    folder = write_landsat(tmp_path / 'in', {'SR_B4': uint16(rng, 1, 8, 8)}, mtl='')
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        for file in folder.iterdir():
            archive.add(file, f'inside/{file.name}')
    safe = write_safe(
        tmp_path, {('B04', 20): uint16(rng, 1, 8, 8), ('B02', 10): uint16(rng, 1, 16, 16)}
    )
    shutil.make_archive(str(tmp_path / 'safe'), 'zip', tmp_path, safe.name)
    found = resolve_scenes([tmp_path / 'a.tar', tmp_path / 'safe.zip'], tmp_path / 'run')
    assert set(source_files(found[0].path)) == {Path(found[0].path), tmp_path / 'a.tar'}
    assert tmp_path / 'safe.zip' in source_files(found[1].path)


def test_folders_and_patterns_of_rasters(tmp_path, rng):
    write_safe(tmp_path, {('B04', 10): uint16(rng, 1, 8, 8)})
    for name in ('b.tif', 'a.tif', 'c[1].png'):
        write_raster(tmp_path / name, uint16(rng, 1, 4, 4).astype(np.uint8))
    (tmp_path / 'notes.txt').write_text('')
    expected = [str(tmp_path / name) for name in ('a.tif', 'b.tif', 'c[1].png')]
    assert find_scenes_of(tmp_path) == expected
    assert find_scenes_of(tmp_path / '*.tif') == expected[:2]
    assert find_scenes_of(tmp_path / 'c[1].png') == expected[2:]  # a file of this name
    (scene,) = find_scenes_of(tmp_path / '*.SAFE')
    assert scene.product.startswith('Sentinel-2')


def test_paths_without_a_scene(tmp_path, rng):
    write_planet(tmp_path / 'planet', uint16(rng, 4, 6, 5), '3B_Visual')
    with pytest.raises(RasterError, match=r'planet: a folder without scenes or a supported prod'):
        find_scenes_of(tmp_path / 'planet')
    (tmp_path / 'in').mkdir()
    with pytest.raises(RasterError, match=r'in: a folder without scenes or a supported product'):
        find_scenes_of(tmp_path / 'in')
    with pytest.raises(RasterError, match=r'in/\*\.tif: no file matches this pattern'):
        find_scenes_of(tmp_path / 'in/*.tif')
    with pytest.raises(RasterError, match=r'x_\{band\}\.tif: no files match'):
        resolve_scenes([tmp_path / 'x_{band}.tif'], tmp_path / 'run')
    write_raster(tmp_path / 'a_{band}.tif', uint16(rng, 1, 4, 4))  # a file of this name
    assert find_scenes_of(tmp_path / 'a_{band}.tif') == [str(tmp_path / 'a_{band}.tif')]
    for name in ('nowhere.tif', 'NETCDF:"x.nc":Band1', '/vsizip/x.zip/a.tif'):
        assert find_scenes_of(name) == [name]
    with pytest.raises(
        RasterError, match=r'a\.tif: mask values are set \(3, bit4\), but a single raster has no'
    ):
        resolve_scenes(['a.tif'], tmp_path / 'run', mask_values=['3', 'bit4'])


@pytest.mark.parametrize('driver', ['Zarr', 'netCDF'])
def test_containers_of_gdal_pass(tmp_path, rng, driver):
    if gdal.GetDriverByName(driver) is None:
        pytest.skip(f'GDAL is built without {driver}')
    samples = uint16(rng, 1, 6, 8).astype(np.int16)
    write_raster(tmp_path / 'a.tif', samples)
    path = tmp_path / ('a.zarr' if driver == 'Zarr' else 'a.nc')
    if driver == 'Zarr':
        target = gdal.GetDriverByName('Zarr').Create(str(path), 8, 6, 1, gdal.GDT_Int16)
        target.GetRasterBand(1).WriteArray(samples[0])
        target = None
        name = f'ZARR:"{path}"'
    else:
        gdal.GetDriverByName('netCDF').CreateCopy(str(path), gdal.Open(str(tmp_path / 'a.tif')))
        name = f'NETCDF:"{path}":Band1'
    (scene,) = resolve_scenes([name], tmp_path / 'run')
    assert scene == (name, name, ())
    assert sorted(read_raster(name).ravel()) == sorted(samples.ravel())
    assert find_scenes_of(path) == [str(path)]

"""Reading over HTTP from a server that is slow or fails."""

import itertools
import random
import time
from typing import ClassVar

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.mapping.scene import Tiling, predict_scene
from dnas_mmseg.raster import Raster, RasterError, Window, raster_stem, read_raster, write_raster
from dnas_mmseg.raster.remote import is_remote, network_settings

from .http_server import serve

OPTIONS = (
    'GDAL_HTTP_MAX_RETRY',
    'GDAL_HTTP_RETRY_DELAY',
    'GDAL_DISABLE_READDIR_ON_OPEN',
    'GDAL_MAX_RAW_BLOCK_CACHE_SIZE',
)
BLOCK = 256


@pytest.fixture
def server(tmp_path):
    (tmp_path / 'www').mkdir()
    with serve(tmp_path / 'www') as server:
        gdal.VSICurlClearCache()
        gdal.SetConfigOption('GDAL_HTTP_RETRY_DELAY', '0.005')
        yield server
    for option in OPTIONS:
        gdal.SetConfigOption(option, None)


def write_cog(path, samples, nodata=None, mask=None, internal='YES'):
    """Write a COG with blocks of 256 x 256."""
    dataset = gdal.GetDriverByName('MEM').Create('', *samples.shape[:0:-1], len(samples), 1)
    dataset.WriteArray(samples)
    dataset.SetGeoTransform((0, 1, 0, 0, 0, -1))
    for i in range(len(samples)):
        band = dataset.GetRasterBand(i + 1)
        band.SetColorInterpretation(gdal.GCI_GrayIndex)
        if nodata is not None:
            band.SetNoDataValue(nodata)
    if mask is not None:
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        dataset.GetRasterBand(1).GetMaskBand().WriteArray(mask)
    options = ['COMPRESS=DEFLATE', 'PREDICTOR=2', f'BLOCKSIZE={BLOCK}']
    if internal == 'YES':
        gdal.GetDriverByName('COG').CreateCopy(str(path), dataset, options=options)
        return
    gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', internal)
    gdal.GetDriverByName('GTiff').CreateCopy(str(path), dataset, options=['TILED=YES'])
    gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', None)


@pytest.fixture
def scene(server, rng):
    """Scene of 700 x 900 in four bands with an internal mask."""
    samples = rng.integers(1, 255, (4, 700, 900)).astype(np.uint8)
    mask = np.full((700, 900), 255, np.uint8)
    mask[100:300, :420] = 0
    write_cog(server.folder / 'scene.tif', samples, mask=mask)
    return server.folder / 'scene.tif', f'{server.url}/scene.tif'


def windows(info, size=BLOCK, step=192):
    for row, column in itertools.product(*(range(0, n, step) for n in info.shape)):
        yield Window(column, row, min(size, info.width - column), min(size, info.height - row))


def everything(path):
    """Return the metadata, and samples and validity in overlapping windows."""
    with Raster(path) as raster:
        info, found = raster.info, []
        for window in windows(info):
            samples = raster.samples(window)
            found.append((samples.values, samples.invalid, raster.is_empty(window)))
    return [info.nodata, info.has_mask, info.georeference, info.band_names], found


def assert_equal(remote, local):
    assert remote[0] == local[0]
    for (values, invalid, empty), (own, own_invalid, own_empty) in zip(
        remote[1], local[1], strict=True
    ):
        np.testing.assert_array_equal(values, own)
        assert (invalid is None) == (own_invalid is None)
        assert invalid is None or (invalid == own_invalid).all()
        assert empty == own_empty


FAULTS = {
    'one in ten dropped': lambda number: 'drop' if number % 10 == 3 else None,
    'one in ten cut': lambda number: 'cut' if number % 10 == 4 else None,
    'one in three unavailable': lambda number: 503 if number % 3 == 1 else None,
    'any': lambda number: random.Random(number).choice(['drop', 'cut', 503] + [None] * 12),
}


@pytest.mark.parametrize('name', FAULTS)
def test_samples_of_failing_server_equal_the_local_file(server, scene, name):
    server.fault = FAULTS[name]
    local, remote = scene
    assert_equal(everything(remote), everything(local))
    assert any(FAULTS[name](i + 1) for i in range(len(server.requests)))


class Brightness:
    """Window model stub: the class is whether the first band is brighter than the second."""

    dataset_meta: ClassVar = dict(classes=('a', 'b'), palette=((0, 0, 0), (255, 255, 255)))
    num_bands, threshold, normalisation = 4, None, None

    def logits(self, images):
        return np.stack([image[:2].numpy() for image in images]).astype(np.float32)


def test_map_of_failing_slow_server_equals_that_of_the_local_file(server, scene, tmp_path):
    local, remote = scene
    server.fault, server.delay = FAULTS['any'], 0.002
    tiling = Tiling(window=BLOCK, overlap=64)
    predict_scene(Brightness(), local, tmp_path / 'local.tif', tiling=tiling)
    predict_scene(Brightness(), remote, tmp_path / 'remote.tif', tiling=tiling)
    np.testing.assert_array_equal(
        read_raster(tmp_path / 'local.tif'), read_raster(tmp_path / 'remote.tif')
    )


def test_each_byte_is_requested_about_once(server, scene):
    local, remote = scene
    everything(remote)
    assert server.sent <= 1.1 * local.stat().st_size
    heads = [path for method, path, _ in server.requests if method == 'HEAD']
    assert heads == ['/scene.tif', '/scene.tif.aux.xml', '/scene.tif.msk']


def test_sidecar_files_are_found_in_spite_of_failures(server, rng):
    samples = rng.integers(1, 255, (1, 300, 300)).astype(np.uint8)
    mask = np.where(rng.random((300, 300)) < 0.5, 0, 255).astype(np.uint8)
    write_cog(server.folder / 'masked.tif', samples, mask=mask, internal='NO')
    gdal.GetDriverByName('GTiff').CreateCopy(
        str(server.folder / 'tagged.tif'),
        gdal.Open(str(server.folder / 'masked.tif')),
        options=['PROFILE=BASELINE'],
    )
    dataset = gdal.Open(str(server.folder / 'tagged.tif'))
    dataset.GetRasterBand(1).SetNoDataValue(7)  # in .aux.xml
    dataset = None
    for name in ('masked.tif', 'tagged.tif'):
        for seed in range(3):
            random_fault = random.Random(seed)
            server.fault = lambda number, r=random_fault: (
                r.choice(['drop', 'cut', 503]) if r.random() < 0.1 else None
            )
            gdal.VSICurlClearCache()
            local = everything(server.folder / name)
            assert local[0][1] or local[0][0] == (7.0,)
            assert_equal(everything(f'{server.url}/{name}'), local)


@pytest.mark.parametrize('seed', range(3))
def test_vrt_of_remote_files_equals_that_of_local_files(server, scene, tmp_path, seed):
    def write_vrt(name, folder):
        sources = [
            f'<SimpleSource><SourceFilename>{folder}/scene.tif</SourceFilename><SourceBand>{band}'
            '</SourceBand></SimpleSource>'
            for band in ('1', '2', 'mask,1')
        ]
        bands = [
            f'<VRTRasterBand dataType="Byte" band="{i + 1}">{source}</VRTRasterBand>'
            for i, source in enumerate(sources[:2])
        ]
        mask = f'<MaskBand><VRTRasterBand dataType="Byte">{sources[2]}</VRTRasterBand></MaskBand>'
        path = tmp_path / name
        path.write_text(
            f'<VRTDataset rasterXSize="900" rasterYSize="700">{"".join(bands)}{mask}</VRTDataset>'
        )
        return path

    chance = random.Random(seed)
    server.fault = lambda number: 'drop' if chance.random() < 0.1 else None
    remote = everything(write_vrt('remote.vrt', server.url))
    assert_equal(remote, everything(write_vrt('local.vrt', server.folder)))


@pytest.mark.parametrize('limit', [None, '10485760'])
@pytest.mark.parametrize('levels', [1, 3])
def test_samples_read_after_a_mask_do_not_come_from_freed_memory(
    server, scene, tmp_path, limit, levels
):
    # GDAL 3.6.2 decoded freed memory: an error if it was in use again, sometimes wrong samples.
    gdal.SetConfigOption('GDAL_HTTP_MAX_RETRY', '0')
    gdal.SetConfigOption('GDAL_MAX_RAW_BLOCK_CACHE_SIZE', limit)
    source = scene[1]
    for level in reversed(range(levels)):
        path = str(tmp_path / ('scene.vrt' if level == 0 else f'{level}.vrt'))
        gdal.BuildVRT(path, [source])
        source = path
    window = Window(0, 0, BLOCK, BLOCK)
    with Raster(tmp_path / 'scene.vrt') as raster:
        raster.is_empty(window)  # reads the mask
        in_use = [np.full(n, 7, np.uint8) for n in (1000, 60_000, 65_536, 262_228, 101_000) * 3]
        samples = raster.read(window, bands=(0, 1, 2, 3))
    del in_use
    with Raster(scene[0]) as raster:
        local = raster.samples(window)
    np.testing.assert_array_equal(samples, np.where(local.invalid, 0, local.values))
    assert gdal.GetConfigOption('GDAL_MAX_RAW_BLOCK_CACHE_SIZE') == limit


def test_nested_vrt_of_failing_server_equals_the_local_file(server, scene, tmp_path):
    """As of scenes whose coarse bands have VRTs of their own."""
    found = []
    for name, source in (('local', str(scene[0])), ('remote', scene[1])):
        for level in ('inner', 'outer'):
            path = str(tmp_path / f'{name}_{level}.vrt')
            gdal.BuildVRT(path, [source])
            source = path
        gdal.VSICurlClearCache()
        server.requests.clear()
        server.fault = FAULTS['one in ten dropped']
        found.append(everything(source))
    assert len(server.requests) > 13
    assert_equal(found[1], found[0])


def test_sparse_blocks_are_not_mistaken_for_unreadable_offsets(server, rng):
    path = server.folder / 'sparse.tif'
    options = ['TILED=YES', 'BLOCKXSIZE=16', 'BLOCKYSIZE=16', 'SPARSE_OK=TRUE']
    dataset = gdal.GetDriverByName('GTiff').Create(str(path), 1024, 1024, 1, 1, options)
    dataset.GetRasterBand(1).SetNoDataValue(0)
    samples = rng.integers(1, 255, (1, 300, 200)).astype(np.uint8)
    dataset.WriteArray(samples, 500, 400)
    dataset = None
    with Raster(path) as local:
        expected = [local.is_empty(window) for window in windows(local.info)]
    assert {True, False} == set(expected)
    for first in range(2, 9):  # the offsets of the blocks are in several of the first requests
        server.requests.clear()
        server.fault = lambda number, first=first: 'cut' if number == first else None
        gdal.VSICurlClearCache()
        with Raster(f'{server.url}/sparse.tif') as raster:
            for window, empty in zip(windows(raster.info), expected, strict=True):
                assert not raster.is_empty(window) or empty
            np.testing.assert_array_equal(raster.read(Window(500, 400, 200, 300)), samples)


@pytest.mark.parametrize('fault', ['drop', 503])
def test_server_that_always_fails_is_an_error_in_bounded_time(server, scene, fault):
    gdal.SetConfigOption('GDAL_HTTP_MAX_RETRY', '2')
    server.fault = lambda number: fault
    started = time.monotonic()
    with pytest.raises(RasterError, match='cannot be opened over the network'):
        everything(scene[1])
    server.fault = lambda number: None
    with Raster(scene[1]) as raster:
        assert raster.info.bands == 4
        server.fault = lambda number: fault
        gdal.VSICurlClearCache()
        with pytest.raises(RasterError, match=r'scene\.tif: .*(server failed|network)'):
            raster.read(Window(0, 0, 700, 700))
    assert time.monotonic() - started < 5


def test_missing_file_is_an_error_at_once(server):
    with pytest.raises(RasterError, match=r'none\.tif: no such file'):
        Raster(f'{server.url}/none.tif').read()
    assert len(server.requests) == 1


def test_options_of_the_user_take_precedence_and_are_restored(server, scene):
    gdal.SetConfigOption('GDAL_HTTP_MAX_RETRY', '1')
    with network_settings():
        assert gdal.GetConfigOption('GDAL_HTTP_MAX_RETRY') == '1'
        assert gdal.GetConfigOption('GDAL_HTTP_CONNECTTIMEOUT') == '10'
    gdal.SetConfigOption('GDAL_DISABLE_READDIR_ON_OPEN', 'TRUE')
    everything(scene[1])
    assert len([path for method, path, _ in server.requests if method == 'HEAD']) > 3
    assert gdal.GetConfigOption('GDAL_HTTP_CONNECTTIMEOUT') is None
    assert gdal.GetConfigOption('GDAL_HTTP_MAX_RETRY') == '1'


def test_option_that_is_not_a_number_is_an_error(server, scene):
    gdal.SetConfigOption('GDAL_HTTP_MAX_RETRY', 'often')
    with pytest.raises(RasterError, match='GDAL_HTTP_MAX_RETRY=often: expected a number'):
        read_raster(scene[1])


def test_errors_and_names_do_not_contain_signatures(server, scene):
    url = f'{scene[1]}?sig=se/cr.et&x=1'
    with Raster(url) as raster:
        assert raster.info.bands == 4
        with pytest.raises(RasterError, match='not inside') as error:
            raster.read(Window(0, 0, 1000, 1))
    assert f'127.0.0.1:{server.url.rpartition(":")[2]}/scene.tif: ' in str(error.value)
    assert 'se/cr' not in str(error.value)
    assert raster_stem(url) == 'scene'
    assert raster_stem('/vsicurl?max_retry=2&url=https%3A%2F%2Fa.com%2Fb.tif%3Fsig') == 'b'


def test_local_sidecar_files_are_found(tmp_path, rng):
    samples = rng.integers(1, 255, (1, 64, 64)).astype(np.uint8)
    mask = np.where(rng.random((64, 64)) < 0.5, 0, 255).astype(np.uint8)
    write_cog(tmp_path / 'masked.tif', samples, mask=mask, internal='NO')
    assert (tmp_path / 'masked.tif.msk').is_file()
    with Raster(tmp_path / 'masked.tif') as raster:
        np.testing.assert_array_equal(raster.samples().invalid, mask == 0)
    write_raster(tmp_path / 'plain.tif', samples)
    assert not is_remote(tmp_path / 'plain.tif')

"""Scenes of STAC items, with the metadata of Earth Search, Planetary Computer, USGS and CDSE."""

import functools
import http.server
import json
import multiprocessing
import threading
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from dnas_mmseg.raster import (
    Raster,
    RasterError,
    build_scene_vrt,
    forbid_network,
    read_items,
    read_raster,
    write_raster,
)
from dnas_mmseg.raster.stac_catalogs import gdal_path, resolve_href

from .products import doubled, place, uint16

pytest.importorskip('pystac', reason="pystac is not installed: extra 'stac'")

COG = 'image/tiff; application=geotiff; profile=cloud-optimized'
EO = 'https://stac-extensions.github.io/eo/v1.1.0/schema.json'
ID = 'S2B_32TQM_20230615_0_L2A'


def item(assets, name=ID, version='1.0.0', collection='c', links=(), **properties):
    times = dict(datetime='2023-06-15T10:36:29.024Z')
    return {
        'type': 'Feature', 'stac_version': version, 'stac_extensions': [EO], 'id': name,
        'geometry': None, 'properties': {**times, **properties}, 'collection': collection,
        'links': list(links), 'assets': assets,
    }  # fmt: skip


def asset(href, *names, common=(), roles=('data',), kind=COG, values=(), **fields):
    """Asset of STAC 1.0 with names and values of its bands."""
    result = dict(href=href, type=kind, roles=list(roles), **fields)
    if names:
        result['eo:bands'] = [{'name': name} for name in names]
        for band, word in zip(result['eo:bands'], common, strict=False):
            band['common_name'] = word
    if values:
        result['raster:bands'] = list(values)
    return result


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def collection(*items, **fields):
    return {'type': 'FeatureCollection', 'features': list(items), **fields}


def read_one(path, **kwargs):
    found = read_items(path, **kwargs)
    assert found.invalid == []
    (scene,) = found.scenes
    return scene


def invalid(folder, *items, **kwargs):
    """Errors of the items of a collection."""
    path = write(folder / 'items.json', collection(*items))
    return [str(entry.error) for entry in read_items(path, **kwargs).invalid]


def earth_search(folder, rng, **properties):
    """Item of sentinel-2-l2a with local files, and the samples of its bands."""
    values = [dict(nodata=0, data_type='uint16', scale=0.0001, offset=-0.1)]
    names = {'blue': 'B02', 'red': 'B04', 'nir': 'B08', 'rededge1': 'B05', 'nir08': 'B8A'}
    samples, assets = {}, {}
    for name, file in names.items():
        fine = name in ('blue', 'red', 'nir')
        samples[name] = uint16(rng, 1, *((20, 20) if fine else (10, 10)))
        where = place(10.0 if fine else 20.0)
        write_raster(folder / f'{file}.tif', samples[name], georeference=where)
        common = ['rededge' if name == 'rededge1' else name]
        bands = dict(common=common, values=values, gsd=10 if fine else 20)
        roles = 'data', 'reflectance'
        assets[f'{name}-jp2'] = asset(
            f's3://sentinel-s2-l2a/{file}.jp2', name, roles=roles, kind='image/jp2', **bands
        )
        assets[name] = asset(f'./{file}.tif', name, roles=roles, **bands)
    scl = np.full((1, 10, 10), 4, np.uint8)
    scl[:, :2] = 9
    write_raster(folder / 'SCL.tif', scl, georeference=place(20.0))
    details = [dict(nodata=0, data_type='uint8', spatial_resolution=20)]
    assets['scl-jp2'] = asset('s3://b/SCL.jp2', kind='image/jp2', values=details)
    assets['scl'] = asset('./SCL.tif', values=details)
    assets['aot'] = asset('./AOT.tif', values=values)
    rgb = dict(common=('red', 'green', 'blue'))
    assets['visual'] = asset('./TCI.tif', 'red', 'green', 'blue', roles=['visual'], **rgb)
    assets['thumbnail'] = asset('./p.jpg', roles=['thumbnail'], kind='image/jpeg')
    assets['granule_metadata'] = asset('./m.xml', roles=['metadata'], kind='application/xml')
    document = item(
        assets, collection='sentinel-2-l2a', constellation='sentinel-2', platform='sentinel-2b',
        **{'eo:cloud_cover': 12.5}, **properties,
    )  # fmt: skip
    return write(folder / f'{ID}.json', document), samples, document


def test_earth_search(tmp_path, rng):
    path, samples, _ = earth_search(tmp_path / 'in', rng)
    scene = read_one(path)
    assert list(scene.bands) == ['blue', 'red', 'nir', 'rededge071', 'nir08']
    assert (scene.name, scene.source, scene.acquired) == (ID, str(path), '2023-06-15 10:36:29')
    assert scene.product == 'STAC item of sentinel-2-l2a'
    assert {source.path.rpartition('.')[2] for source in scene.bands.values()} == {'tif'}
    stack = build_scene_vrt(
        scene, tmp_path / 'run', bands=('nir', 'B05', 'red'), resampling='nearest', mask_values=[9]
    )
    with Raster(stack, apply_scale=True) as raster:
        assert raster.info.names == ('nir', 'rededge071', 'red')
        assert raster.info.nodata == (0, 0, 0)
        assert raster.info.georeference == place(10.0)
        assert raster.info.acquired == '2023-06-15 10:36:29'
        found = raster.samples()
    expected = np.stack([samples['nir'][0], doubled(samples['rededge1'][0]), samples['red'][0]])
    np.testing.assert_array_equal(read_raster(stack), expected)
    np.testing.assert_allclose(found.values, expected * 1e-4 - 0.1, atol=1e-6)
    np.testing.assert_array_equal(found.invalid, np.tile(np.arange(20) < 4, (20, 1)).T)


def test_an_offset_that_is_already_applied_is_not_applied_again(tmp_path, rng):
    path, _, _ = earth_search(tmp_path, rng, **{'earthsearch:boa_offset_applied': True})
    assert (read_one(path).bands['red'].scale, read_one(path).bands['red'].offset) == (0.0001, 0.0)


def test_planetary_computer_landsat(tmp_path, rng):
    """Signed URLs are unchanged; the near infrared has two names; QA_PIXEL has flags."""
    token = '?st=2023-06-15T10%3A36Z&sig=a%2Fb%3D&se=1'
    values = [dict(scale=2.75e-05, offset=-0.2, nodata=0, unit='', data_type='uint16')]
    numbers = {'blue': 2, 'red': 4, 'nir08': 5, 'swir16': 6}
    assets = {
        name: asset(
            f'https://h.blob.core.windows.net/l/SR_B{i}.TIF{token}', f'OLI_B{i}',
            common=[name], values=values,
        )
        for name, i in numbers.items()
    }  # fmt: skip
    thermal = [dict(scale=0.00341802, offset=149.0, nodata=0)]
    assets['lwir11'] = asset('./ST_B10.TIF', 'TIRS_B10', common=['lwir11'], values=thermal)
    quality = np.full((1, 8, 8), 64, np.uint16)
    quality[:, 3] = 64 + 8
    write_raster(tmp_path / 'QA.TIF', quality, georeference=place(30.0))
    assets['qa_pixel'] = asset('./QA.TIF', roles=['cloud', 'cloud-shadow', 'snow-ice'])
    assets['tilejson'] = asset('https://h/t.json', kind='application/json', roles=['tiles'])
    write_raster(tmp_path / 'ST_B10.TIF', uint16(rng, 1, 8, 8), georeference=place(30.0))
    path = write(tmp_path / 'i.json', item(assets, platform='landsat-8', instruments=['oli']))
    scene = read_one(path)
    assert list(scene.bands) == ['blue', 'red', 'nir', 'swir16', 'lwir11']
    nir = scene.bands['nir']
    assert nir.path == f'/vsicurl/https://h.blob.core.windows.net/l/SR_B5.TIF{token}'
    assert (nir.scale, nir.offset, nir.nodata) == (2.75e-05, -0.2, 0)
    stack = build_scene_vrt(scene, tmp_path / 'run', bands=['b10'], mask_values=['bit3'])
    with Raster(stack) as raster:
        assert raster.info.scaling == ((0.00341802, 149.0),)
        np.testing.assert_array_equal(raster.samples().invalid[:, 0], np.arange(8) == 3)


def test_planetary_computer_sentinel_2(tmp_path):
    """Common names of version 1 are shared; the rendering has role data."""
    common = {'B04': 'red', 'B05': 'rededge', 'B06': 'rededge', 'B8A': 'rededge', 'B08': 'nir'}
    assets = {n: asset(f'./{n}.tif', n, common=[c], gsd=10.0) for n, c in common.items()}
    rgb = dict(common=('red', 'green', 'blue'))
    assets['visual'] = asset('./TCI.tif', 'B04', 'B03', 'B02', gsd=10.0, **rgb)
    assets['preview'] = asset('./p.tif', roles=['overview'])
    assets['B09'] = asset('./B09.tif', 'B09')
    path = write(tmp_path / 'i.json', item(assets, constellation='Sentinel 2'))
    scene = read_one(path)
    assert list(scene.bands) == ['red', 'rededge071', 'rededge075', 'nir08', 'nir', 'nir09']
    assert scene.bands['red'].path == str(tmp_path / 'B04.tif')
    assert (scene.bands['red'].scale, scene.bands['red'].nodata) == (None, None)
    only = write(tmp_path / 'v.json', item({'visual': assets['visual']}))
    assert [(n, s.band) for n, s in read_one(only).bands.items()] == [
        ('red', 1), ('green', 2), ('blue', 3),
    ]  # fmt: skip


def test_version_1_1(tmp_path):
    """Values of an asset apply to its bands; of several resolutions, the finest is used."""
    assets = {
        f'{band}_{metres}m': {
            'href': f's3://eodata/R{metres}m/{band}.jp2', 'type': 'image/jp2', 'gsd': metres,
            'roles': ['data', 'reflectance'], 'nodata': 0, 'raster:scale': 0.0001,
            'raster:offset': -0.1, 'bands': [{'name': band, 'eo:common_name': common}],
        }
        for metres in (60, 20, 10)
        for band, common in (('B04', 'red'), ('B05', 'rededge071'))
        if (band, metres) != ('B05', 10)
    }  # fmt: skip
    own = {'name': 'B08', 'eo:common_name': 'nir', 'raster:scale': 1.0, 'nodata': 'nan'}
    assets['nir'] = {**assets['B04_10m'], 'href': 'gs://bucket/n.tif', 'bands': [own]}
    assets['SCL_20m'] = {'href': 's3://eodata/R20m/SCL.jp2', 'gsd': 20, 'roles': ['data']}
    assets['SCL_60m'] = {**assets['SCL_20m'], 'gsd': 60, 'href': 's3://eodata/R60m/SCL.jp2'}
    path = write(tmp_path / 'i.json', item(assets, version='1.1.0', constellation='sentinel-2'))
    scene = read_one(path)
    assert {name: source.path for name, source in scene.bands.items()} == {
        'red': '/vsis3/eodata/R10m/B04.jp2', 'rededge071': '/vsis3/eodata/R20m/B05.jp2',
        'nir': '/vsigs/bucket/n.tif',
    }  # fmt: skip
    red, nir = scene.bands['red'], scene.bands['nir']
    assert (red.scale, red.offset, red.nodata) == (0.0001, -0.1, 0)
    assert (nir.scale, nir.offset) == (1.0, -0.1)
    assert np.isnan(nir.nodata)
    assert scene.quality.source.path == '/vsis3/eodata/R20m/SCL.jp2'
    assert not scene.quality.has_flags


def test_files_of_several_bands(tmp_path, rng):
    samples = uint16(rng, 5, 8, 8)
    write_raster(tmp_path / 'image.tif', samples, georeference=place(1.0), names=[''] * 5)
    names = 'Red', 'green_i', 'Green', 'NIR', 'alpha'
    common = 'red', 'green', 'green', 'nir', 'alpha'
    nodata = [dict(nodata=value) for value in (7, None, None, 9, None)]
    document = item({'image': asset('image.tif', *names, common=common, values=nodata)})
    scene = read_one(write(tmp_path / 'i.json', document))
    assert {n: s.band for n, s in scene.bands.items()} == dict(red=1, green_i=2, green=3, nir=4)
    stack = build_scene_vrt(scene, tmp_path / 'run', bands=('nir', 'green', 'red'))
    np.testing.assert_array_equal(read_raster(stack), samples[[3, 2, 0]])
    assert Raster(stack).info.nodata == (9, None, 7)


@pytest.mark.parametrize(
    ('properties', 'bands'),
    [
        # Harmonized Landsat Sentinel: numbers with a leading zero are those of the platform.
        (dict(platform='LANDSAT-8'), {'B05': 'nir', 'B06': 'swir16', 'B10': 'lwir11'}),
        (dict(platform='sentinel-2a'), {'B05': 'rededge071', 'B11': 'swir16'}),
    ],
)
def test_keys_are_names_where_bands_have_none(tmp_path, properties, bands):
    assets = {key: asset(f'./{key}.tif') for key in (*bands, 'Fmask', 'SAA')}
    scene = read_one(write(tmp_path / 'i.json', item(assets, **properties)))
    assert list(scene.bands) == list(bands.values())
    assert (scene.quality.name, scene.quality.has_flags) == ('Fmask', True)


def test_numbers_of_other_sensors_are_not_resolved(tmp_path):
    assets = {'green': asset('a.tif', 'B1', common=['green']), 'x': asset('x.tif', 'B2')}
    for properties in (dict(platform='landsat-5', instruments=['mss']), dict(platform='unknown')):
        scene = read_one(write(tmp_path / 'i.json', item(assets, name='x', **properties)))
        assert list(scene.bands) == ['green', 'b2']


def test_equal_assets_are_ambiguous(tmp_path):
    assets = {'a': asset('a.tif', 'B04'), 'b': asset('b.tif', 'B04'), 'c': asset('c.tif', 'B02')}
    (error,) = invalid(tmp_path, item(assets, constellation='sentinel-2'))
    assert f"items.json#{ID}: band red is in assets 'a' and 'b'; expected one" in error
    assets['b']['roles'] = []
    assert invalid(tmp_path, item(assets, constellation='sentinel-2')) == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(assets={}), 'no asset with named bands (assets: none)'),
        (dict(assets={'a': asset('a.tif')}), 'no asset with named bands (assets: a)'),
        (dict(assets={'a': {}}), "not a valid STAC item (KeyError: 'href')"),
        (dict(properties={}), 'not a valid STAC item (STACError'),
        (dict(properties={'datetime': 'June'}), 'not a valid STAC item (ValueError'),
        (dict(stac_version=3), 'not a valid STAC item'),
        (dict(assets=None, type='Other'), 'expected a Feature with assets'),
        (dict(assets={'red': asset('dods://a', 'red')}), 'URLs of dods:// are not supported'),
        (dict(assets={'red': asset('a', 'red', values=[{}, {}])}), '1 bands have names, 2 have'),
        (dict(assets={'red': asset('a', 'red', values=[{'scale': 'big'}])}), "'big', expected a n"),
        (dict(assets={'red': asset('a', 'red', values=[{'scale': 0}])}), 'scale 0.0 and offset'),
        (dict(assets={'red': {'href': 'a', 'eo:bands': 3}}), 'eo:bands: expected a list of obj'),
        (dict(assets={'red': asset('a', 'red') | {'roles': 3}}), 'not a valid STAC item (TypeErr'),
    ],
)
def test_invalid_items_do_not_stop_the_others(tmp_path, change, message):
    good = item({'red': asset('a.tif', 'red')}, name='good')
    path = write(tmp_path / 'items.json', collection({**item({}), **change}, good))
    found = read_items(path)
    assert [scene.name for scene in found.scenes] == ['good']
    ((source, error),) = [(entry.source, str(entry.error)) for entry in found.invalid]
    assert source == f'{path}#{ID}'
    assert error.startswith(f'{source}: ')
    assert message in error


def test_unique_ids(tmp_path):
    red = {'red': asset('a.tif', 'red')}
    path = write(tmp_path / 'items.json', collection(*(item(red, name=n) for n in 'aab')))
    found = read_items(path)
    assert [scene.source for scene in found.scenes] == [f'{path}#a', f'{path}#b']
    (entry,) = found.invalid
    assert entry.source == f'{path}#2'
    assert f"the id 'a' is also that of {path}#a" in str(entry.error)
    scene = read_one(write(tmp_path / 'i.json', item(red, name='../..\\a/b:c')))
    assert scene.name == '_.._a_b_c'


def test_filters(tmp_path):
    def dated(name, *days, **properties):
        if len(days) == 2:
            start, end = days
            properties |= dict(datetime=None, start_datetime=start, end_datetime=end)
        else:
            properties['datetime'] = days[0]
        return item({'red': asset('a.tif', 'red')}, name=name, **properties)

    items = [
        dated('may', '2023-05-31T23:59:59Z', **{'eo:cloud_cover': 20.0}),
        dated('june', '2023-06-01T01:00:00+02:00', **{'eo:cloud_cover': 20.1}),
        dated('july', '2023-07-01T00:00:00Z'),
        dated('span', '2023-05-30T00:00:00Z', '2023-06-02T00:00:00Z', **{'eo:cloud_cover': 0}),
    ]
    path = write(tmp_path / 'items.json', collection(*items))

    def names(**kwargs):
        return [scene.name for scene in read_items(path, **kwargs).scenes]

    assert names(period='2023-06-01/..') == ['july', 'span']  # 01:00 of UTC+2 is in May
    assert names(period='../2023-05-31') == ['may', 'june', 'span']
    assert names(period='2023-07-01') == ['july']
    assert names(period='2023-05-31T23:00:00Z/2023-05-31T23:30:00Z') == ['june', 'span']
    assert names(max_cloud_cover=20) == ['may', 'span']
    assert read_items(path).notes == []
    assert read_items(path, max_cloud_cover=20, period='../2023-06-30').notes == [
        f'{path}: 2 of 4 items selected (1 above 20 % cloud cover, 1 outside the period)'
    ]
    for options, message in (
        (dict(period='2024-01-01/..'), r'none of 4 items is selected \(4 outside the period\)'),
        (dict(period='2023-13-01'), "period '2023-13-01': expected start/end such as"),
        (dict(period='2023-06-02/2023-06-01'), 'expected start/end'),
        (dict(period='../..'), 'expected start/end'),
        (dict(max_cloud_cover=101), 'cloud cover 101: expected 0 to 100'),
    ):
        with pytest.raises(RasterError, match=message):
            read_items(path, **options)


def catalogue(kind='Collection', **links):
    """Static catalogue; references of a relation are separated by spaces."""
    found = [dict(rel=rel, href=href) for rel, text in links.items() for href in text.split()]
    return {'type': kind, 'stac_version': '1.0.0', 'id': 'c', 'description': '', 'links': found}


def red(name, href='./red.tif', **kwargs):
    return item({'red': asset(href, 'red')}, name=name, **kwargs)


def test_catalogues_are_walked(tmp_path):
    root = write(
        tmp_path / 'catalog.json',
        catalogue('Catalog', child='./a/collection.json ./b/collection.json ./gone.json'),
    )
    write(tmp_path / 'a/collection.json', catalogue(item='./2/i.json ./1/i.json', root='../c.json'))
    write(tmp_path / 'b/collection.json', catalogue(item='./i.json', child='../catalog.json'))
    for name in ('a/2', 'a/1', 'b'):
        write(tmp_path / name / 'i.json', red(name.replace('/', '')))
    found = read_items(root)
    assert [scene.name for scene in found.scenes] == ['a2', 'a1', 'b']
    assert found.scenes[1].bands['red'].path == str(tmp_path / 'a/1/red.tif')
    (entry,) = found.invalid
    assert str(entry.error).startswith(f'{tmp_path}/gone.json: cannot be read (')


def test_folders(tmp_path):
    write(tmp_path / 'b.json', red('b'))
    write(tmp_path / 'a.json', collection(red('a1'), red('a2', links=[
        dict(rel='self', href='https://h/x/a2.json')
    ])))  # fmt: skip
    write(tmp_path / 'dataset.json', {'bands': ['red']})
    write(tmp_path / 'collection.json', catalogue(item='./b.json'))
    (tmp_path / 'broken.json').write_text('{"type": "Feature", ')
    found = read_items(tmp_path)
    assert [scene.name for scene in found.scenes] == ['a1', 'a2', 'b']
    assert [scene.bands['red'].path for scene in found.scenes[:2]] == [
        f'{tmp_path}/red.tif', '/vsicurl/https://h/x/red.tif',
    ]  # fmt: skip
    (entry,) = found.invalid
    assert 'broken.json: not valid JSON' in str(entry.error)


@pytest.mark.parametrize(
    ('document', 'message'),
    [
        (None, 'cannot be read'),
        ([], 'a JSON list, expected a STAC item'),
        ({'type': 'Topology'}, "not STAC (its type is 'Topology')"),
        ({'type': 'Feature', 'geometry': None}, "not STAC (its type is 'Feature')"),
        (collection(), 'no STAC items'),
        ({'type': 'FeatureCollection'}, 'a FeatureCollection without a list of features'),
        (catalogue(), 'no STAC items'),
        (catalogue(items='./items', self='./c'), 'a catalogue of a STAC API'),
        ({**catalogue('Catalog'), 'conformsTo': []}, 'a catalogue of a STAC API'),
        (collection(red('a'), links=[dict(rel='next', href='https://h/s')]), 'one page of a sear'),
    ],
)
def test_other_documents_are_errors(tmp_path, document, message):
    path = tmp_path / 'x.json'
    if document is not None:
        write(path, document)
    with pytest.raises(RasterError) as error:
        read_items(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_folders_without_items(tmp_path):
    write(tmp_path / 'collection.json', catalogue(item='./a/b.json'))
    with pytest.raises(RasterError, match='a folder without STAC items'):
        read_items(tmp_path)


@pytest.fixture
def server(tmp_path):
    """Address of an HTTP server with the files of ``tmp_path`` and a search of three pages."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            if url.path != '/search':
                return super().do_GET()
            page = int(parse_qs(url.query).get('page', ['1'])[0])
            links = [dict(rel='next', href=f'?page={page + 1}&b=%2F')] if page < 3 else []
            body = json.dumps(collection(red(f'p{page}'), links=links)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}'
        server.shutdown()


def _read_without_network(address):
    forbid_network()
    try:
        return len(read_items(address).scenes)
    except RasterError as error:
        return str(error)


def test_items_over_http(server, tmp_path, rng):
    samples = uint16(rng, 1, 8, 8)
    write_raster(tmp_path / 'a/red.tif', samples, georeference=place(10.0))
    write(tmp_path / 'a/i.json', red('a'))
    write(tmp_path / 'c.json', catalogue(item='./a/i.json?token=x'))
    scene = read_one(f'{server}/c.json')
    assert scene.source == f'{server}/a/i.json?token=x'
    assert scene.bands['red'].path == f'/vsicurl/{server}/a/red.tif'
    np.testing.assert_array_equal(read_raster(build_scene_vrt(scene, tmp_path / 'run')), samples)
    assert read_one(f'/vsicurl/{server}/a/i.json').bands == scene.bands
    assert [s.name for s in read_items(f'{server}/search?limit=1').scenes] == ['p1', 'p2', 'p3']
    with pytest.raises(RasterError, match=r'gone\.json: cannot be read'):
        read_items(f'{server}/gone.json')
    write(tmp_path / 'new.json', red('new'))  # GDAL caches the others
    with multiprocessing.get_context('fork').Pool(1) as pool:
        refused = pool.apply(_read_without_network, [f'{server}/new.json'])
        assert pool.apply(_read_without_network, [str(tmp_path / 'a/i.json')]) == 1
    assert 'cannot be read' in refused


@pytest.mark.parametrize(
    ('href', 'base', 'expected'),
    [
        ('./b.tif', '/d/x y/i.json', '/d/x y/b.tif'),
        ('../b#1.tif', '/d/#2/i.json', '/d/b#1.tif'),
        ('/abs/b.tif', '/d/i.json', '/abs/b.tif'),
        ('file:///abs/b%20c.tif', '/d/i.json', '/abs/b c.tif'),
        ('./b.tif', 'https://h/d/i.json?sig=1', '/vsicurl/https://h/d/b.tif'),
        ('b.tif?a=%2F&b=1', 's3://bucket/d/i.json', '/vsis3/bucket/d/b.tif?a=%2F&b=1'),
        ('az://c/b.tif', 'https://h/i.json', '/vsiaz/c/b.tif'),
        ('../b.tif', '/vsigs/c/d/i.json', '/vsigs/c/b.tif'),
        ('./b.tif', '/vsizip//d/x.zip/i.json', '/vsizip//d/x.zip/b.tif'),
        ('/vsizip/vsis3/c/x.zip/b.tif', 'https://h/i.json', '/vsizip/vsis3/c/x.zip/b.tif'),
    ],
)
def test_references(href, base, expected):
    assert gdal_path(resolve_href(href, base)) == expected


def test_pystac_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pystac', None)
    with pytest.raises(ValueError, match=r"pystac is not installed: pip install 'dnas_mmseg\[stac"):
        read_items(tmp_path)

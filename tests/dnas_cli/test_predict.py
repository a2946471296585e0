"""Command `dnas predict`."""

import argparse
import json

import numpy as np
import pytest

from dnas_cli.predict import split_list
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.raster import GeoReference, read_raster, write_raster

from ..conftest import ROOT, TORCHRUN, run
from ..mapping.conftest import scenes
from ..raster.class_maps import wkt
from ..raster.products import place, uint16, write_safe

PLACE = (500000.0, 1.0, 0.0, 5400000.0, 0.0, -1.0)


def test_maps_resume_and_shards(trained, tmp_path, rng):
    inputs = scenes(tmp_path / 'in', rng, 'a', 'b', 'c')
    out = tmp_path / 'out'
    command = (ROOT / 'tools/predict.py', *trained, *inputs, '--out-dir', out, '--window', 64)
    code, output = run(*command, '--shard', '2/3')
    assert code == 0, output
    assert [p.name for p in out.glob('*.tif')] == ['b.tif']
    written = (out / 'b.tif').stat().st_mtime_ns
    code, output = run(*command, '--resume', '--confidence', '--quick-look')
    assert code == 0, output
    assert '3 maps' in output  # the confidence of b was missing
    for folder, suffix in (('.', 'tif'), ('confidence', 'tif'), ('quick_look', 'png')):
        names = [p.name for p in sorted((out / folder).glob(f'*.{suffix}'))]
        assert names == [f'{name}.{suffix}' for name in 'abc']
    assert (out / 'b.tif').stat().st_mtime_ns > written
    (out / 'quick_look/b.png').unlink()
    written = (out / 'b.tif').stat().st_mtime_ns
    code, output = run(*command, '--resume', '--confidence', '--quick-look')
    assert code == 0, output
    assert '1 maps; 2 skipped' in output
    assert (out / 'quick_look/b.png').is_file()
    assert (out / 'b.tif').stat().st_mtime_ns == written  # the map is not written again
    assert set(np.unique(read_raster(out / 'a.tif'))) <= set(range(5))


def test_a_mosaic_of_all_maps(trained, tmp_path, rng):
    inputs = [
        *scenes(tmp_path / 'in', rng, 'a', georeference=GeoReference(wkt(32632), 0.0, PLACE)),
        *scenes(
            tmp_path / 'in', rng, 'b',
            georeference=GeoReference(wkt(32632), 0.0, (500070.0, *PLACE[1:])),
        ),
    ]  # fmt: skip
    (tmp_path / 'in/c.tif').write_text('no raster')
    out, country = tmp_path / 'out', tmp_path / 'country.tif'
    command = (ROOT / 'tools/predict.py', *trained, *inputs, '--out-dir', out)
    for words, message in (
        (('--zones', 'd.gpkg'), '--zones requires --mosaic'),
        (('--mosaic', country, '--zone-field', 'name'), '--zone-field requires --zones'),
        (('--mosaic', country, '--shard', '1/2'), '--mosaic requires the maps of all shards'),
        (('--mosaic', country, '--overlap-rule', 'confidence'), 'confidence requires --confidence'),
        (('--mosaic', country, '--crs', 'EPSG:1'), "CRS 'EPSG:1' is unknown"),
    ):
        code, output = run(*command, *words)
        assert code == 1
        assert message in ' '.join(output.split())
        assert not out.exists()
    code, output = run(*command, '--shard', '1/2')
    assert code == 0, output
    # A map of another scene is in the way of d.
    (other,) = scenes(tmp_path / 'other', rng, 'd')
    code, output = run(ROOT / 'tools/predict.py', *trained, other, '--out-dir', out)
    assert code == 0, output
    elsewhere = GeoReference(wkt(32632), 0.0, (500140.0, *PLACE[1:]))
    (moved,) = scenes(tmp_path / 'in', rng, 'd', georeference=elsewhere)
    code, output = run(*command, tmp_path / 'in/c.tif', moved, '--resume', '--mosaic', country)
    assert code == 1  # but the mosaic of the other scenes is written
    assert 'c.tif: not a raster' in output
    assert 'd.tif exists and does not belong to a map of' in ' '.join(output.split())
    assert 'note: ' + str(country) + ': 2 maps, none resampled; 60 rows x 140' in ' '.join(
        output.split()
    )
    mosaic = read_raster(country)[0]
    np.testing.assert_array_equal(mosaic[:, :70], read_raster(out / 'a.tif')[0])
    np.testing.assert_array_equal(mosaic[:, 70:], read_raster(out / 'b.tif')[0])
    assert (tmp_path / 'country_areas.csv').read_text().startswith('class,pixels,area_m2,share')


@pytest.mark.parametrize(
    ('texts', 'words', 'scenes'),
    [
        (['nir', 'red', 'a.tif', 'b.tif'], ['nir', 'red'], ['a.tif', 'b.tif']),
        (['nir,red', '{band}.tif'], ['nir', 'red'], ['{band}.tif']),
        (['nir,red,green'], ['nir', 'red', 'green'], []),  # names of folders with bands
        (['0.86,0.65', 'maps'], ['0.86', '0.65'], ['maps']),
        (['nir'], ['nir'], []),
    ],
)
def test_words_of_an_option_and_scenes(texts, words, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('nir', 'red', 'green', 'maps'):
        (tmp_path / name).mkdir()
    args = argparse.Namespace(words=['model'])
    if texts == ['nir', 'red', 'a.tif', 'b.tif']:
        (tmp_path / 'red').rmdir()
    assert split_list(args, texts) == words
    assert args.words == ['model', *scenes]


def test_torchrun_distributes_the_scenes(trained, tmp_path, rng):
    inputs = scenes(tmp_path / 'in', rng, 'a', 'b', 'c', size=(20, 20))
    code, output = run(
        *TORCHRUN, ROOT / 'tools/predict.py', *trained, *inputs, '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, output
    assert sorted(p.name for p in (tmp_path / 'out').glob('*.tif')) == ['a.tif', 'b.tif', 'c.tif']
    assert ': 2 maps' in output
    assert ': 1 maps' in output
    assert 'skipped' not in output


def test_bands_nodata_and_invalid_arguments(trained, tmp_path, rng):
    (scene,) = scenes(tmp_path / 'in', rng, 'a', names=BANDS[::-1])
    samples = read_raster(scene)
    samples[:, :, :30] = 0
    write_raster(scene, samples)
    command = (ROOT / 'tools/predict.py', *trained, '--out-dir')
    maps = []
    for i, words in enumerate(
        [
            (scene, '--bands', 'blue,green,red,nir', '--nodata', '0'),
            ('--nodata', '0', '--bands', *BANDS[::-1], scene),  # the scene is not a band
        ]
    ):
        code, output = run(*command, tmp_path / str(i), *words)
        assert code == 0, output
        maps.append(read_raster(tmp_path / f'{i}/a.tif')[0])
    assert (maps[0] == maps[1]).all()
    np.testing.assert_array_equal(maps[0] == 255, np.tile(np.arange(70) < 30, (60, 1)))
    for words, message in (
        ((scene, '--window', 0), 'error: window = 0, batch = 4: must be at least 1'),
        ((scene, '--device', 'gpu'), "error: device 'gpu' is not available; choose cpu"),
        (('--bands', 'nir,red'), 'SCENE is missing'),
    ):
        code, output = run(*command, tmp_path / 'no', *words)
        assert code != 0
        assert message in output
        assert 'Traceback' not in output


def test_an_invalid_output_folder_fails_before_the_first_window(trained, tmp_path, rng):
    inputs = scenes(tmp_path / 'in', rng, 'a')
    (tmp_path / 'file').touch()
    code, output = run(
        ROOT / 'tools/predict.py', *trained, *inputs, '--out-dir', tmp_path / 'file/maps'
    )
    assert code == 1
    assert 'file/maps/a.tif: cannot be written' in output
    assert 'Traceback' not in output


def test_scenes_of_several_files(trained, tmp_path, rng):
    scl = np.full((1, 10, 10), 4, np.uint8)
    scl[:, :, :3] = 8
    images = {(band, 10): uint16(rng, 1, 20, 20) for band in ('B02', 'B03', 'B04', 'B08')}
    safe = write_safe(tmp_path, images, scl=scl)
    command = (ROOT / 'tools/predict.py', *trained, '--out-dir', tmp_path / 'out')
    # The scene is not a mask value.
    code, output = run(*command, '--resampling', 'nearest', '--mask-values', '3', '8', safe)
    assert code == 0, output
    text = ' '.join(output.split())
    assert f'note: {safe}: Sentinel-2 L2A, bands nir, red, green, blue at 10 m' in text
    assert 'masked where SCL is 3, 8' in text
    classes = read_raster(tmp_path / f'out/{safe.stem}.tif')[0]
    np.testing.assert_array_equal(classes == 255, np.tile(np.arange(20) < 6, (20, 1)))
    code, output = run(*command, safe, '--mask-values', 'cloud')
    assert code == 1
    assert "mask value 'cloud': expected a value of the quality band" in output
    assert 'Traceback' not in output


def test_items_of_a_catalogue_become_a_collection(trained, tmp_path, rng):
    pystac = pytest.importorskip('pystac', reason="pystac is not installed: extra 'stac'")
    features = []
    for name, cloud in (('a', 5), ('b', 10), ('cloudy', 60)):
        assets = {}
        for band in BANDS:
            path = tmp_path / f'in/{name}_{band}.tif'
            write_raster(path, uint16(rng, 1, 20, 20), georeference=place(10.0))
            assets[band] = {'href': f'./{path.name}', 'roles': ['data'], 'bands': [{'name': band}]}
        features.append({
            'type': 'Feature', 'stac_version': '1.1.0', 'id': name, 'geometry': None, 'links': [],
            'properties': {'datetime': '2023-06-15T10:36:29Z', 'eo:cloud_cover': cloud},
            'assets': assets,
        })  # fmt: skip
    features += [{**features[0], 'id': 'invalid.1', 'assets': {}}]
    features += [{**features[0], 'id': 'invalid.2', 'assets': {}}]
    items = tmp_path / 'in/items.json'
    items.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    out = tmp_path / 'out'
    command = (ROOT / 'tools/predict.py', *trained, '--items', items, '--out-dir', out, '--stac')
    for shard, maps, failed in (('1/2', 'a', 'invalid.1'), ('2/2', 'ab', 'invalid.2')):
        code, output = run(
            *command, '--cloud-cover', 20, '--period', '2023-06-01/..', '--shard', shard
        )
        text = ' '.join(output.split())
        assert code == 1
        assert f'note: {items}: 4 of 5 items selected (1 above 20 % cloud cover)' in text
        assert (
            f'1 of 2 scenes are not mapped; resume (--resume) retries them: - {items}#{failed}'
            in text
        )
        assert 'no asset with named bands (assets: none)' in text
        assert 'Traceback' not in output
        found = list(pystac.Collection.from_file(str(out / 'collection.json')).get_items())
        assert [item.id for item in found] == list(maps)
    assert found[0].properties['datetime'] == '2023-06-15T10:36:29Z'
    assert [path.stem for path in sorted(out.glob('*.tif'))] == ['a', 'b']
    (out / 'collection.json').unlink()
    items.write_text(json.dumps({'type': 'FeatureCollection', 'features': features[:2]}))
    code, output = run(*command, '--resume')
    assert code == 0, output
    assert ': 0 maps; 2 skipped' in output
    assert (out / 'collection.json').is_file()
    code, output = run(
        ROOT / 'tools/predict.py', *trained, 'a.tif', '--out-dir', out, '--period', '..'
    )
    assert code != 0
    assert '--cloud-cover and --period apply to STAC items only: set --items' in output


def test_scenes_are_mapped_on_a_dask_cluster(trained, tmp_path, rng):
    pytest.importorskip('distributed', reason="distributed is not installed: extra 'dask'")
    inputs = scenes(tmp_path / 'in', rng, 'a', 'b', 'c')
    command = (ROOT / 'tools/predict.py', *trained, *inputs, '--window', 64)
    code, output = run(*command, '--out-dir', tmp_path / 'one')
    assert code == 0, output
    (tmp_path / 'in/b.tif').write_bytes((tmp_path / 'in/b.tif').read_bytes()[:3000])
    out = tmp_path / 'two'
    code, output = run(*command, '--out-dir', out, '--dask', 'local:2')
    text = ' '.join(output.split())
    assert code == 1
    assert '2 workers' in text
    assert f'{out}: 2 maps; 1 failed error: 1 of 3 scenes are not mapped' in text
    assert f'- {inputs[1]}: ' in text
    assert 'Traceback' not in output
    for name in 'ac':
        expected = (tmp_path / f'one/{name}.tif').read_bytes()
        assert (out / f'{name}.tif').read_bytes() == expected
    code, output = run(*command, '--out-dir', out, '--dask', 'local:2', '--shard', '1/2')
    assert code == 1
    assert '--dask distributes the scenes itself' in output


def test_a_dry_run_states_the_cost(trained, tmp_path, rng):
    inputs = scenes(tmp_path / 'in', rng, 'a', 'b', size=(64, 112))
    out = tmp_path / 'out'
    code, output = run(
        ROOT / 'tools/predict.py', *trained, *inputs, tmp_path / 'missing.tif', '--window', 64,
        '--out-dir', out, '--dry-run',
    )  # fmt: skip
    text = ' '.join(output.split())
    assert code == 1
    assert 'scenes to map: 2 of 3, 1.43e-05 gigapixels in 4 windows of 64 x 64 to read:' in text
    assert 'in the network by 1 processes' in text
    assert f'1 of 3 scenes are not mapped; resume (--resume) retries them: - {tmp_path}' in text
    assert 'Traceback' not in output
    assert not out.exists()


def test_a_dry_run_writes_nothing(trained, tmp_path, rng):
    """Also no mosaic of maps that exist, if a scene fails."""
    place = GeoReference(wkt(32632), 0.0, PLACE)
    inputs = scenes(tmp_path / 'in', rng, 'a', size=(64, 64), georeference=place)
    command = (ROOT / 'tools/predict.py', *trained, *inputs, '--out-dir', tmp_path / 'out')
    code, output = run(*command)
    assert code == 0, output
    before = sorted(tmp_path.rglob('*'))
    code, output = run(
        *command, tmp_path / 'missing.tif', '--resume', '--mosaic', tmp_path / 'm.tif', '--dry-run'
    )
    assert code == 1
    assert '1 of 2 scenes are not mapped' in ' '.join(output.split())
    assert 'skipped' not in output
    assert sorted(tmp_path.rglob('*')) == before

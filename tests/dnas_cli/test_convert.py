"""Command `dnas convert`."""

import json
import sys

import numpy as np
import pytest

from dnas_cli import convert
from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.preparation.synthetic import write_scenes
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, run
from ..raster.products import place, uint16, write_safe
from ..raster.test_vectors import write

PIPELINE = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]


def test_scenes_to_tiles(tmp_path):
    write_scenes(tmp_path / 'release', count=3, size=64)
    code, output = run(
        ROOT / 'tools/dataset_converters/gid5.py', tmp_path / 'release',
        '--out', tmp_path / 'data', '--tile-size', 32, '--workers', 1,
    )  # fmt: skip
    assert code == 0, output
    assert json.loads((tmp_path / 'data/dataset.json').read_text())['tile_size'] == [32, 32]
    assert len((tmp_path / 'data/train.txt').read_text().splitlines()) == 4
    code, output = run(ROOT / 'tools/dataset_converters/gid5.py', tmp_path)
    assert code == 1
    assert 'no 8-bit release found. Expected image_NirRGB/* and label_5' in output


def test_scenes_of_any_folder_to_tiles(tmp_path, rng):
    for name in ('a', 'b', 'c'):
        samples = rng.integers(1, 3000, (3, 40, 40)).astype(np.uint16)
        write_raster(tmp_path / f'in/scenes/{name}.tif', samples)
        write_raster(tmp_path / f'in/truth/{name}_gt.png', np.ones((40, 40), np.uint8))
    facts = dict(
        classes=['roof', 'road'], palette=[[1, 2, 3], [4, 5, 6]], bands=['red', 'nir', 'swir'],
        label_convention='index',
    )  # fmt: skip
    (tmp_path / 'facts.json').write_text(json.dumps(facts))
    command = (
        ROOT / 'tools/dataset_converters/gid5.py', tmp_path / 'in', '--out', tmp_path / 'out',
        '--images', 'scenes/*.tif', '--labels', 'truth/{name}_gt.png',
        '--facts', tmp_path / 'facts.json', '--tile-size', 20, '--scale-to-8-bit', 0, 3000,
    )  # fmt: skip
    code, output = run(*command, '--workers', 2)
    assert code == 0, output
    written = json.loads((tmp_path / 'out/dataset.json').read_text())
    assert written['bands'] == ['red', 'nir', 'swir']
    assert written['dtype'] == 'uint8'
    assert written['provenance']['scaled_to_8_bit_from'] == [0, 3000]
    assert written['class_shares'] == [1, 0]
    code, output = run(*command[:-3])
    assert code == 1
    assert 'cut with other settings (scale): choose another folder' in output


def test_five_billion_pixels_from_release_to_training(tmp_path, rng):
    """Index labels of 24 classes are converted to train ids and support training."""
    labels = {}
    for name in ('a', 'b', 'c'):
        labels[name] = rng.integers(0, 25, (64, 64)).astype(np.uint8)
        samples = rng.integers(1, 255, (4, 64, 64)).astype(np.uint8)
        write_raster(tmp_path / f'in/Image__8bit_NirRGB/{name}.tif', samples)
        write_raster(tmp_path / f'in/Annotation__index/{name}_24label.png', labels[name])
    code, output = run(
        ROOT / 'tools/dataset_converters/scenes.py', tmp_path / 'in', '--out', tmp_path / 'fbp',
        '--tile-size', 64, '--workers', 1,
    )  # fmt: skip
    assert code == 0, output
    for name, label in labels.items():
        tile = read_raster(tmp_path / f'fbp/labels/{name}_0_0.png')[0]
        np.testing.assert_array_equal(tile, np.where(label == 0, 255, label - np.uint8(1)))
    narrow = ('model.backbone.base_channels=2', 'model.decode_head.channels=8')
    code, output = run(
        ROOT / 'tools/train.py', ROOT / 'configs/dnas/dnas_l12_fbp.py',
        '--data-root', tmp_path / 'fbp', '--work-dir', tmp_path / 'run',
        '--cfg-options', *narrow, 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=1',
        'train_dataloader.drop_last=False', 'train_pipeline.2.crop_size=(64,64)',
        'train_dataloader.dataset.pipeline.2.crop_size=(64,64)', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
    )  # fmt: skip
    assert code == 0, output
    assert 'railway station' in output


def test_sixteen_bit_scenes_of_any_folder_have_their_band_order(tmp_path, rng):
    for name in ('a', 'b', 'c'):
        samples = rng.integers(1, 3000, (4, 32, 32)).astype(np.uint16)
        write_raster(tmp_path / f'in/scenes/{name}.tif', samples)
        write_raster(tmp_path / f'in/truth/{name}.png', np.ones((32, 32), np.uint8))
    code, output = run(
        ROOT / 'tools/dataset_converters/scenes.py', tmp_path / 'in', '--out', tmp_path / 'out',
        '--images', 'scenes/*.tif', '--labels', 'truth/{name}.png', '--label-convention', 'index',
        '--dataset', 'gid5', '--bits', 16, '--tile-size', 32, '--workers', 1,
    )  # fmt: skip
    assert code == 0, output
    written = json.loads((tmp_path / 'out/dataset.json').read_text())
    assert written['bands'] == ['blue', 'green', 'red', 'nir']


def test_polygons_and_products_to_tiles(tmp_path, rng):
    images = {
        ('B04', 10): uint16(rng, 128, 96), ('B08', 10): uint16(rng, 128, 96),
        ('B11', 20): uint16(rng, 64, 48),
    }  # fmt: skip
    write_safe(tmp_path, images)
    left, top = place(10.0).transform[0], place(10.0).transform[3]
    shapes = [
        (f'POLYGON (({left} {top}, {x} {top}, {x} {y}, {left} {y}, {left} {top}))', name, 0)
        for x, y, name in ((left + 480, top - 1280, 'crop'),)
    ]
    write(tmp_path / 'fields.gpkg', shapes)
    facts = dict(classes=['crop', 'other'], bands=['red', 'nir', 'swir16'])
    (tmp_path / 'facts.json').write_text(json.dumps(facts))
    write(tmp_path / 'aoi.gpkg', [(shapes[0][0].replace(f'{left + 480}', f'{left + 960}'), 'x', 0)])
    code, output = run(
        ROOT / 'tools/dataset_converters/scenes.py', tmp_path,
        '--out', tmp_path / 'out', '--images', '*.SAFE',
        '--labels', 'fields.gpkg', '--class-field', 'class', '--background', 'other',
        '--area-of-interest', tmp_path / 'aoi.gpkg', '--facts', tmp_path / 'facts.json',
        '--tile-size', 16, '--gap', 8, '--workers', 1,
    )  # fmt: skip
    assert code == 0, output
    assert 'train 1, val 1, test 1 scenes, split within scenes, by strips with a gap' in output
    written = json.loads((tmp_path / 'out/dataset.json').read_text())
    assert written['label_convention'] == 'train_id'
    assert written['bands'] == facts['bands']
    assert abs(written['class_shares'][0] - 0.5) < 0.01
    dataset = MultiBandSegDataset(str(tmp_path / 'out'), 'train.txt', pipeline=PIPELINE)
    sample = dataset[0]
    _, row, column = parse_tile_name(dataset.pairs[0][0])
    np.testing.assert_array_equal(
        sample['img'][..., 0], images['B04', 10][row : row + 16, column : column + 16]
    )
    np.testing.assert_array_equal(sample['gt_seg_map'], np.full((16, 16), int(column >= 48)))
    parts = [
        MultiBandSegDataset(str(tmp_path / 'out'), f'{n}.txt') for n in ('train', 'val', 'test')
    ]
    places = [{parse_tile_name(image)[1:] for image, _ in part.pairs} for part in parts]
    gaps = [
        max(abs(a - c), abs(b - d)) for i, j in ((0, 1), (0, 2), (1, 2))
        for a, b in places[i] for c, d in places[j]
    ]  # fmt: skip
    assert min(gaps) >= 16 + 8


def test_labels_that_cannot_be_read(tmp_path, rng):
    write_safe(tmp_path, {('B04', 10): uint16(rng, 32, 32)})
    (tmp_path / 'facts.json').write_text(json.dumps(dict(classes=['a'], bands=['red', 'green'])))
    options = ('--facts', tmp_path / 'facts.json', '--class-field', 'class', '--labels', 'no.gpkg')
    code, output = run(
        ROOT / 'tools/dataset_converters/scenes.py',
        tmp_path,
        '--out',
        tmp_path / 'out',
        '--images',
        '*.SAFE',
        *options,
    )
    assert code == 1
    assert 'no band green' in output
    assert 'Traceback' not in output


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--class-field', 'class'], '--class-field does not apply: the labels are rasters'),
        (['--overlap', 'last'], '--overlap applies to polygons only: set --class-field'),
        (['--all-touched'], '--all-touched applies to polygons only: set --class-field'),
    ],
)
def test_polygon_options_are_refused_for_rasters(tmp_path, monkeypatch, options, message):
    write_raster(tmp_path / 'scenes/a.tif', np.ones((1, 32, 32), np.uint8))
    write_raster(tmp_path / 'truth/a.png', np.ones((32, 32), np.uint8))
    (tmp_path / 'facts.json').write_text('{"classes": ["roof", "road"], "bands": ["red"]}')
    words = [
        tmp_path, '--images', 'scenes/*.tif', '--labels', 'truth/{name}.png', '--label-convention',
        'index', '--facts', tmp_path / 'facts.json', '--out', tmp_path / 'out', '--workers', 1,
    ]  # fmt: skip
    monkeypatch.setattr(sys, 'argv', ['dnas', *map(str, words), *options])
    with pytest.raises(SystemExit, match=message):
        convert.main()
    assert not (tmp_path / 'out').exists()

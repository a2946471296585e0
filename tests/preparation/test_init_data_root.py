"""A data root and a config from images and labels."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from osgeo import gdal

from dnas_mmseg.datasets import DatasetDescription, DatasetError
from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.preparation.data_root import SplitSettings
from dnas_mmseg.preparation.init_data_root import InitSettings, config_text, init_data_root
from dnas_mmseg.preparation.interpretation import MissingSettingsError
from dnas_mmseg.preparation.label_rasters import PolygonRules
from dnas_mmseg.raster import read_raster, write_raster

from ..raster.test_vectors import square, write
from .test_label_rasters import REFERENCE
from .test_splitting import reference


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """Folder with twelve tiles of two bands, labels 10 and 20, and 0 for unlabelled."""
    monkeypatch.chdir(tmp_path)
    for i in range(12):
        samples = rng.normal([[[100]], [[300]]], 10, (2, 64, 64)).round().astype(np.uint16)
        write_raster(
            f'images/t{i}.tif', samples, names=('red', 'nir'), georeference=reference(3 * i, 0)
        )
        label = np.full((64, 64), 10, np.uint8)
        label[: 4 * i + 4] = 20
        label[:, 0] = 0
        write_raster(f'labels/t{i}.png', label)
    return tmp_path


def test_tiles_are_used_where_they_are(folder):
    settings = InitSettings(unlabelled=('0',), classes=('low', 'high'))
    result = init_data_root('images', 'labels', 'data/mine', settings)
    assert result.config == folder.joinpath('data/mine.py').relative_to(folder)
    assert result.root is None
    assert not (folder / 'data/mine/images').exists()
    described = DatasetDescription.load('data/mine')
    assert described.tile_size == (64, 64)
    np.testing.assert_allclose(described.mean, [100, 300], atol=1)
    np.testing.assert_allclose(described.std, [10, 10], atol=1)
    config = load_config(result.config)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert dataset.metainfo['classes'] == ('low', 'high')
    _, label = dataset.pairs[0]
    stored = read_raster(label)[0]
    table = {0: 255, 10: 0, 20: 1}
    expected = np.vectorize(table.get)(stored)
    sample = DATASETS.build(config.val_dataloader.dataset)[0]
    assert sample['inputs'].shape == (2, 64, 64)
    np.testing.assert_array_equal(dataset.labels.encode(stored[None]), expected)
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    assert model.decode_head.num_classes == 2
    assert model.data_preprocessor.mean.numel() == 2


def test_a_few_large_images_are_cut(folder):
    for i in range(3, 12):
        (folder / f'images/t{i}.tif').unlink()
        (folder / f'labels/t{i}.png').unlink()
    result = init_data_root(
        'images', 'labels', 'mine', InitSettings(unlabelled=('0',), tile_size=32)
    )
    assert result.root is not None
    lists = [len((folder / f'mine/{name}.txt').read_text().splitlines()) for name in SPLITS]
    assert lists == [4, 4, 4]  # of one scene each


def move_to_folders(folder, *names):
    """Move the tiles to folders in turn, with images and labels in each; return the tiles."""
    result = {name: set() for name in names}
    for i in range(12):
        name = names[i % len(names)]
        for kind, file in (('images', f't{i}.tif'), ('labels', f't{i}.png')):
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / file).rename(folder / name / kind / file)
        result[name].add(f't{i}')
    return result


def test_a_split_by_folders_is_used(folder):
    tiles = move_to_folders(folder, 'train', 'Valid', 'test')
    patterns = ('*/images/*.tif', '*/labels/{name}.png')
    result = init_data_root(*patterns, 'mine', InitSettings(unlabelled=('0',)))
    parts = {name: {tile.name for tile in part} for name, part in result.split.parts.items()}
    assert parts == {'train': tiles['train'], 'val': tiles['Valid'], 'test': tiles['test']}
    assert result.split.method == 'by the folders of train, val and test'
    assert result.split.notes == [
        'the images are in folders of train, val and test: they are split by these folders',
        '--by scene, blocks or random splits all tiles instead',
    ]
    settings = InitSettings(unlabelled=('0',), by='random')
    assert init_data_root(*patterns, 'random', settings).split.method == 'random'


def test_a_part_without_a_folder_is_split_from_the_training_tiles(folder):
    tiles = move_to_folders(folder, 'train', 'test')
    result = init_data_root(
        '*/images/*.tif', '*/labels/{name}.png', 'mine', InitSettings(unlabelled=('0',))
    )
    parts = {name: {tile.name for tile in part} for name, part in result.split.parts.items()}
    assert parts['test'] == tiles['test']
    assert parts['val']
    assert parts['train'] | parts['val'] == tiles['train']
    assert 'val has no folder: it is split from the training images' in result.split.notes


def test_scenes_are_split_by_folders(folder):
    tiles = move_to_folders(folder, 'train', 'test')
    patterns = ('*/images/*.tif', '*/labels/{name}.png')
    for name in [*sorted(tiles['test'])[2:], *sorted(tiles['train'])[3:]]:  # fewer than 8 are cut
        for path in folder.glob(f'*/*/{name}.*'):
            path.unlink()
    settings = InitSettings(unlabelled=('0',), tile_size=32)
    result = init_data_root(*patterns, 'mine', settings)
    assert result.root.scenes == {'train': 2, 'val': 1, 'test': 2}
    scenes = {line.split('_')[0] for line in (folder / 'mine/test.txt').read_text().splitlines()}
    assert scenes == {f'images/{name}' for name in sorted(tiles['test'])[:2]}
    (folder / 'mine').rename(folder / 'data')  # the pattern would match its tiles
    (folder / 'data/images').rename(folder / 'data/tiles')
    for name in sorted(tiles['train'])[1:3]:
        for path in folder.glob(f'train/*/{name}.*'):
            path.unlink()
    with pytest.raises(DatasetError, match='have 1 scenes, too few to split val from them: add a'):
        init_data_root(*patterns, 'other', settings)


def test_one_scene_has_tiles_that_fit_its_strips(folder):
    for i in range(1, 12):
        (folder / f'images/t{i}.tif').unlink()
        (folder / f'labels/t{i}.png').unlink()
    result = init_data_root('images', 'labels', 'mine', InitSettings(unlabelled=('0',)))
    assert result.description.tile_size == (16, 16)
    assert result.notes[-1] == (
        'tiles have 16 instead of 64 pixels, since images/t0.tif (64 x 64 pixels) is divided into '
        '3 strips'
    )


def test_a_config_is_never_replaced_unasked(folder):
    settings = InitSettings(unlabelled=('0',))
    init_data_root('images', 'labels', 'mine', settings)
    with pytest.raises(DatasetError, match=r'mine\.py exists: add --overwrite'):
        init_data_root('images', 'labels', 'mine', settings)
    init_data_root('images', 'labels', 'mine', InitSettings(unlabelled=('0',), overwrite=True))


def test_a_description_is_never_replaced_unasked(folder):
    path = folder / 'data/dataset.json'
    path.parent.mkdir()
    DatasetDescription(classes=('a', 'b')).save('data')
    written = path.read_text()
    with pytest.raises(DatasetError, match=r'data/dataset\.json exists: add --overwrite'):
        init_data_root('images', 'labels', 'data', InitSettings(unlabelled=('0',)))
    assert path.read_text() == written
    assert sorted(p.name for p in path.parent.iterdir()) == ['dataset.json']
    init_data_root('images', 'labels', 'data', InitSettings(unlabelled=('0',), overwrite=True))
    assert DatasetDescription.load('data').bands == ('red', 'nir')


def test_missing_settings_are_named(folder):
    with pytest.raises(MissingSettingsError, match='--unlabelled: label value 0'):
        init_data_root('images', 'labels', 'mine')
    assert not (folder / 'mine.py').exists()


def test_renamed_classes_take_effect(folder):
    init_data_root('images', 'labels', 'mine', InitSettings(unlabelled=('0',)))
    text = (folder / 'mine.py').read_text()
    assert "10: 'class_10'" in text
    (folder / 'mine.py').write_text(text.replace("'class_10'", "'grass'"))
    config = Config.fromfile('mine.py')
    assert DATASETS.build(config.val_dataloader.dataset).metainfo['classes'] == (
        'grass',
        'class_20',
    )


def test_polygons_are_cut_into_tiles(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    samples = rng.integers(0, 255, (3, 40, 50)).astype(np.uint8)
    write_raster('scenes/a.tif', samples, names=('red', 'green', 'blue'), georeference=REFERENCE)
    shapes = [(square(0, 0, 25, 40), 'field', 0), (square(25, 0, 50, 40), 'wood', 0)]
    write(tmp_path / 'fields.gpkg', shapes)
    with pytest.raises(MissingSettingsError, match='--class-field: the labels are polygons'):
        init_data_root('scenes', 'fields.gpkg', 'mine')
    settings = InitSettings(rules=PolygonRules('class'), tile_size=8)
    result = init_data_root('scenes', 'fields.gpkg', 'mine', settings)
    assert result.description.classes == ('field', 'wood')
    assert result.description.scene_values == {}  # polygons have none
    assert result.root.method == 'within scenes, by strips with a gap of 4 pixels'
    config = load_config('mine.py')
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        assert dataset.metainfo['classes'] == ('field', 'wood')
        assert len(dataset) > 0


def test_polygons_of_files_with_other_suffixes(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    samples = rng.integers(0, 255, (3, 40, 50)).astype(np.uint8)
    write_raster('scenes/a.tif', samples, names=('red', 'green', 'blue'), georeference=REFERENCE)
    shapes = [(square(0, 0, 25, 40), 'field', 0), (square(25, 0, 50, 40), 'wood', 0)]
    write(tmp_path / 'a.gpkg', shapes)
    for name, driver in (('a.gml', 'GML'), ('a.sqlite', 'SQLite')):
        gdal.VectorTranslate(name, 'a.gpkg', format=driver)
    with zipfile.ZipFile('a.zip', 'w') as archive:
        archive.write('a.gpkg')
    settings = InitSettings(rules=PolygonRules('class'), tile_size=8)
    labels = ('a.gml', '{name}.sqlite', '/vsizip/a.zip/a.gpkg')
    for number, label in enumerate(labels):
        result = init_data_root('scenes', label, f'out{number}', settings)
        assert result.description.class_names == ('field', 'wood')
        np.testing.assert_allclose(result.description.class_shares, 0.5, atol=0.1)
    again = replace(settings, overwrite=True)
    assert init_data_root('scenes', labels[-1], 'out2', again).root.scenes['train'] == 1
    values = replace(settings, label_values={'field': 'a', 'wood': 'b'}, classes=('a', 'b'))
    with pytest.raises(DatasetError, match='--classes does not apply: --label-values has the'):
        init_data_root('scenes', 'a.gml', 'other', values)


def test_each_part_has_tiles_with_labelled_pixels(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    west, *rest = REFERENCE.transform
    for i, name in enumerate('abc'):
        samples = rng.integers(0, 255, (1, 64, 64)).astype(np.uint8)
        place = replace(REFERENCE, transform=(west + 1000 * i, *rest))
        write_raster(f'scenes/{name}.tif', samples, names=('pan',), georeference=place)
    shapes = [
        (square(x, 0, x + side, 64), name, 0)
        for x, side, name in ((0, 20, 'field'), (20, 40, 'wood'), (500, 30, 'wood'))
    ]
    settings = InitSettings(rules=PolygonRules('class'), tile_size=16)
    between = square(1040.1, 40.1, 1040.3, 40.3), 'field', 0  # without the centre of a pixel
    write(tmp_path / 'two.gpkg', [*shapes, between])
    with pytest.raises(DatasetError, match=r'has no tile: its scenes \(c\) have too few labelled'):
        init_data_root('scenes', 'two.gpkg', 'mine', settings)
    assert not list(tmp_path.glob('mine/*.txt')) + list(tmp_path.glob('mine.py'))
    write(tmp_path / 'three.gpkg', [*shapes, (square(1040, 40, 1041, 41), 'field', 0)])
    init_data_root('scenes', 'three.gpkg', 'other', settings)
    lines = ''.join(path.read_text() for path in tmp_path.glob('other/*.txt')).splitlines()
    assert [line for line in lines if 'images/c_' in line] == [
        'images/c_32_32.tif\tlabels/c_32_32.png'
    ]


def test_labels_on_another_grid_are_asked_for(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    samples = rng.integers(0, 255, (1, 40, 50)).astype(np.uint8)
    write_raster('scenes/a.tif', samples, names=('pan',), georeference=REFERENCE)
    write_raster('truth.tif', np.tile(np.array([1, 2], np.uint8), (60, 60)), georeference=REFERENCE)
    with pytest.raises(MissingSettingsError, match=r'--label-resampling: truth\.tif is not on the'):
        init_data_root('scenes', 'truth.tif', 'mine', InitSettings(tile_size=8))
    settings = InitSettings(tile_size=8, label_resampling='nearest')
    result = init_data_root('scenes', 'truth.tif', 'mine', settings)
    assert result.description.class_shares == (0.5, 0.5)
    # Scores of maps need the values of truth.tif, and not the train ids on the scenes' grid.
    assert result.description.scene_values == {'1': 'class_1', '2': 'class_2'}


def test_stacks_of_arrays(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    images = rng.integers(0, 255, (9, 64, 48, 3)).astype(np.uint8)
    labels = np.tile(np.array([3, 8], np.uint8), (9, 64, 24))
    np.savez('tiles.npz', images=images, labels=labels)
    settings = InitSettings(bands=('red', 'green', 'blue'))
    result = init_data_root('tiles.npz', 'tiles.npz', 'mine', settings)
    assert sum(map(len, result.split.parts.values())) == 9
    config = load_config('mine.py')
    dataset = DATASETS.build(config.val_dataloader.dataset)
    number = int(dataset.pairs[0][0].rsplit(':', 1)[1])
    np.testing.assert_array_equal(dataset[0]['inputs'].numpy(), images[number].transpose(2, 0, 1))
    with pytest.raises(DatasetError, match='stacks of two files'):
        init_data_root('tiles.npz', 'other.npz', 'mine2', settings)


def test_undeclared_fill_values_are_named(folder):
    for path in sorted((folder / 'images').iterdir()):
        samples = read_raster(path)
        samples[:, :16] = 0
        place = reference(3 * int(path.stem[1:]), 0)
        write_raster(path, samples, names=('red', 'nir'), georeference=place)
    settings = InitSettings(unlabelled=('0',))
    result = init_data_root('images', 'labels', 'mine', settings)
    assert result.notes[-1].startswith('12 of 12 images have one value in all bands')
    assert 'such as 0 in 25 % of' in result.notes[-1]
    declared = InitSettings(unlabelled=('0',), nodata=0)
    result = init_data_root('images', 'labels', 'clean', declared)
    assert result.notes == []
    np.testing.assert_allclose(result.description.mean, [100, 300], atol=1)
    config = load_config('clean.py')
    sample = DATASETS.build(config.val_dataloader.dataset)[0]
    assert (sample['data_samples'].gt_sem_seg.data[0, :16] == 255).all()


@pytest.mark.parametrize(
    ('nodata', 'line'),
    [
        (-2147483648.0, '    nodata=-2147483648,'),
        (-3.4028234663852886e38, '    nodata=-3.4028234663852886e+38,'),
        (0.1, '    nodata=0.1,'),
        (float('nan'), None),
    ],
)
def test_nodata_is_written_exactly(nodata, line):
    description = DatasetDescription(bands=('red',), mean=(1.0,), std=(1.0,), classes=('a', 'b'))
    lines = config_text(description, 'mine', nodata).splitlines()
    assert [text for text in lines if 'nodata' in text] == ([line] if line else [])


def test_tiles_do_not_replace_cut_ones(folder):
    """Their data root would count overlaps by the names of tiles."""
    (folder / 'mine/manifest').mkdir(parents=True)
    settings = InitSettings(unlabelled=('0',), overwrite=True)
    with pytest.raises(DatasetError, match='contains tiles that were cut from scenes'):
        init_data_root('images', 'labels', 'mine', settings)


def test_alpha_that_is_a_band_has_statistics(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    for name in 'abcd':
        samples = rng.integers(1, 255, (4, 64, 64)).astype(np.uint8)
        options = ('PHOTOMETRIC=RGB', 'ALPHA=YES')
        write_raster(f'images/{name}.tif', samples, options=options)
        write_raster(f'labels/{name}.png', rng.integers(1, 3, (64, 64)).astype(np.uint8))
    settings = InitSettings(bands=('red', 'green', 'blue', 'nir'))
    result = init_data_root('images', 'labels', 'mine', settings)
    assert len(result.description.mean) == 4
    assert load_config('mine.py').model.backbone.in_channels == 4


def test_declared_nodata_of_labels_is_unlabelled(folder):
    for path in sorted((folder / 'labels').iterdir()):
        label = read_raster(path)[0].astype(np.int16)
        label[label == 0] = -9999
        write_raster(path.with_suffix('.tif'), label, nodata=-9999)
        path.unlink()
    result = init_data_root('images', 'labels', 'mine')
    assert result.description.class_names == ('class_10', 'class_20')
    dataset = DATASETS.build(load_config('mine.py').val_dataloader.dataset)
    assert (dataset[0]['data_samples'].gt_sem_seg.data[0, :, 0] == 255).all()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            InitSettings(rules=PolygonRules('x')),
            '--class-field does not apply: the lab',
        ),
        (
            InitSettings(split=SplitSettings(shares=(100, 0, 0))),
            '--fractions 100 0 0: .* three positive',
        ),
    ],
)
def test_settings_without_effect_are_refused(folder, settings, message):
    with pytest.raises(DatasetError, match=message):
        init_data_root('images', 'labels', 'mine', settings)


@pytest.mark.parametrize('out', ['.', 'mine.py'])
def test_names_of_data_roots(folder, out):
    with pytest.raises(DatasetError, match='expected the name of a new folder'):
        init_data_root('images', 'labels', out, InitSettings(unlabelled=('0',)))


def test_folders_that_configs_cannot_name(folder):
    with pytest.raises(UserError, match='apostrophe, a backslash or a line break'):
        init_data_root('images', 'labels', "it's/mine", InitSettings())
    assert not (folder / "it's").exists()


def test_names_with_quotes_and_brackets(folder):
    (folder / 'images').rename(folder / 'my [1] images')
    result = init_data_root('my [1] images', 'labels', "it's mine", InitSettings(unlabelled=('0',)))
    dataset = DATASETS.build(load_config(result.config).train_dataloader.dataset)
    assert len(dataset) > 0


def test_empty_field_values_and_folders_of_polygons(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    samples = rng.integers(0, 255, (1, 40, 50)).astype(np.uint8)
    write_raster('scenes/a.tif', samples, names=('pan',), georeference=REFERENCE)
    (tmp_path / 'vectors').mkdir()
    shapes = [
        (square(0, 0, 20, 40), 'field', 0), (square(20, 0, 40, 40), 'wood ', 0),
        (square(40, 0, 45, 40), '', 0), (square(45, 0, 50, 40), 'wood', 0),
    ]  # fmt: skip
    write(tmp_path / 'vectors/a.gpkg', shapes)
    settings = InitSettings(rules=PolygonRules('class'), tile_size=8)
    result = init_data_root('scenes', 'vectors', 'mine', settings)
    assert any('differ by spaces or case only' in note for note in result.notes)
    label = read_raster('mine/label_rasters/a.tif')[0]
    assert (label[:, 40:45] == 255).all()
    merged = InitSettings(
        rules=PolygonRules('class'), tile_size=8, overwrite=True,
        label_values={'field': 'field', 'wood': 'wood', 'wood ': 'wood', '': None},
    )  # fmt: skip
    result = init_data_root('scenes', 'vectors', 'mine', merged)
    assert result.description.class_names == ('field', 'wood')

"""Scores of maps of several scenes."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets import DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import confusion_matrix
from dnas_mmseg.mapping.scoring import OVERALL, count_map, get_label_encoding, score_maps
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.raster import write_raster, write_strips

from .conftest import pair


def test_overall_scores_count_pixels_and_are_no_mean_of_scenes(tmp_path):
    """One scene of 30,000 correct pixels, one of 10,000 wrong ones; some are not scored."""
    sizes = {'large': ((100, 300), 0), 'small': ((100, 100), 1)}
    scenes = []
    for name, (size, predicted) in sizes.items():
        classes, truth = np.full(size, predicted, np.uint8), np.zeros(size, np.uint8)
        if name == 'large':
            classes[:, 250:] = 255
            truth[0, :5] = 77
        scenes.append(Scene(name, tmp_path / f'{name}.tif', tmp_path / f'{name}.png'))
        write_raster(scenes[-1].image, classes)
        write_raster(scenes[-1].label, truth)
    steps = []
    results, notes = score_maps(
        scenes, ['a', 'b', 'c'], LabelEncoding('train_id', 3), tmp_path / 'out',
        lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert list(results) == ['large', 'small', OVERALL]
    assert [results[name]['OA'] for name in results] == pytest.approx([1, 0, 24_995 / 34_995])
    assert steps == [(1, 2), (2, 2)]
    first, second = notes
    assert first.startswith('large: unknown label values are treated as unlabelled')
    assert '77 (5 pixels)' in first
    assert second == '5000 labelled pixels have no class in the maps and are not scored'
    written = json.loads((tmp_path / 'out/scores.json').read_text())
    assert written[OVERALL]['confusion'] == [[24_995, 10_000, 0], [0, 0, 0], [0, 0, 0]]
    assert written[OVERALL]['unmapped'] == 5000
    assert written[OVERALL]['IoU'] == [pytest.approx(24_995 / 34_995, abs=1e-6), 0, None]
    assert (tmp_path / 'out/confusion.png').stat().st_size > 5000


TRAIN_IDS = LabelEncoding('train_id', 5)


def test_labels_have_the_values_of_the_config():
    leaf = dict(type='MultiBandSegDataset', metainfo=dict(classes=('a', 'b')))
    config = Config(dict(test_dataloader=dict(dataset=leaf)))
    assert get_label_encoding(config)[1].convention == 'rgb'
    assert get_label_encoding(config, 'index')[1].convention == 'index'
    leaf['label_values'] = {10: 'b', 20: 'a', 30: 'b', 0: None}
    config = Config(dict(test_dataloader=dict(dataset=leaf)))
    classes, labels = get_label_encoding(config)
    assert classes == ('a', 'b')
    assert labels.encode(np.array([[[0, 10, 20, 30]]], np.uint8)).tolist() == [[255, 1, 0, 1]]
    _, labels = get_label_encoding(config, label_values={'7': 'a', '8': 'b'})
    assert labels.encode(np.array([[[7, 8]]], np.uint8)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({}, [255, 0, 1, 1, 2]),
        ({'label_values': {0: 'a', 1: 'b', 2: 'renamed', 255: None}}, [255, 0, 1, 1, 2]),
        ({'label_values': {0: 'a', 1: 'a', 2: 'c'}}, [255, 0, 0, 0, 1]),  # two are merged
        ({'label_values': {0: 'a', 1: None, 2: 'c'}}, [255, 0, 255, 255, 1]),
    ],
)
def test_labels_of_scenes_have_the_values_that_their_tiles_were_cut_from(
    settings, expected, tmp_path
):
    """Tiles have train ids; taken for those of the scenes, each class would be another one."""
    scenes = {'0': None, '1': 'a', '2': 'b', '3': 'b', '4': 'c'}
    description = DatasetDescription(
        classes=('a', 'b', 'c'), label_convention='train_id', scene_values=scenes
    )
    description.save(tmp_path)
    colours = [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    names = dict.fromkeys(filter(None, settings.get('label_values', scenes).values()))
    metainfo = dict(classes=tuple(names), palette=colours[: len(names)])
    leaf = dict(type='MultiBandSegDataset', data_root=str(tmp_path), metainfo=metainfo, **settings)
    config = Config(dict(test_dataloader=dict(dataset=leaf)))
    _, labels = get_label_encoding(config)
    assert labels.encode(np.array([[[0, 1, 2, 3, 4]]], np.uint8)).tolist() == [expected]
    _, labels = get_label_encoding(config, 'index')
    assert labels.convention == 'index'
    description = DatasetDescription(classes=('a', 'b', 'c'), label_convention='train_id')
    description.save(tmp_path)  # of tiles that another program cut
    if settings:
        with pytest.raises(
            UserError, match='the label values of their scenes are unknown: set --l'
        ):
            get_label_encoding(config)


def test_every_labelled_pixel_counts_once(tmp_path, rng):
    truth, classes = pair(tmp_path, rng)
    write_raster(tmp_path / 's.png', truth)
    count = count_map(tmp_path / 'maps/s.tif', tmp_path / 's.png', TRAIN_IDS)
    expected = np.where(classes == 255, 255, truth)
    assert np.array_equal(count.matrix, confusion_matrix(expected, classes, 5))
    assert count.matrix.sum() == 990 * 40
    assert count.unmapped == 10 * 40


def test_a_few_unknown_label_values_are_not_scored(tmp_path, rng):
    truth, _ = pair(tmp_path, rng)
    truth[500, :9] = 77
    write_raster(tmp_path / 's.png', truth)
    count = count_map(tmp_path / 'maps/s.tif', tmp_path / 's.png', TRAIN_IDS)
    assert count.unknown == {'77': 9}
    assert count.matrix.sum() == 990 * 40 - 9


def test_maps_that_do_not_match_their_label_are_refused(tmp_path, rng):
    truth, _ = pair(tmp_path, rng, height=20)
    write_raster(tmp_path / 'small.png', truth[:10])
    with pytest.raises(DatasetError, match=r'small\.png: the label is \(10, 40\), the map is \(20'):
        count_map(tmp_path / 'maps/s.tif', tmp_path / 'small.png', TRAIN_IDS)
    write_raster(tmp_path / 'odd.png', np.full((20, 40), 7, np.uint8))
    with pytest.raises(DatasetError, match=r'odd\.png up to Window.*7 \(800 pixels, [0-9.]+ %\)'):
        count_map(tmp_path / 'maps/s.tif', tmp_path / 'odd.png', TRAIN_IDS)
    write_raster(tmp_path / 'map.tif', np.full((20, 40), 9, np.uint8))
    write_raster(tmp_path / 'label.png', np.zeros((20, 40), np.uint8))
    with pytest.raises(DatasetError, match=r'map\.tif at .*: class 9, expected 0 to 4'):
        count_map(tmp_path / 'map.tif', tmp_path / 'label.png', TRAIN_IDS)
    names = ('a', 'b', 'c', 'd', 'e')
    scheme = ClassScheme(names, tuple((i, i, i) for i in range(5)))
    with write_strips(tmp_path / 'm.tif', height=20, width=40, classes=scheme) as write:
        write(np.zeros((1, 20, 40), np.uint8), 0)
    with pytest.raises(DatasetError, match=r'm\.tif: its classes are a, b, c, d, e; those of the'):
        count_map(tmp_path / 'm.tif', tmp_path / 'label.png', TRAIN_IDS, class_names=names[::-1])
    with pytest.raises(DatasetError, match='those of the config are a, b: use the config'):
        count_map(tmp_path / 'm.tif', tmp_path / 'label.png', TRAIN_IDS, class_names=names[:2])
    renamed = ('a', 'b', 'other', 'd', 'e')
    count = count_map(tmp_path / 'm.tif', tmp_path / 'label.png', TRAIN_IDS, class_names=renamed)
    assert count.matrix[0, 0] == 800

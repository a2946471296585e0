"""Baselines that see single pixels."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import compute_scores
from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline
from dnas_mmseg.raster import write_raster

PIPELINE = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
CLASSES = ('dark', 'bright', 'vegetation')


def tiles(folder, rng, names, label=None):
    """Tiles whose class follows from the samples of each pixel."""
    lines = []
    for name in names:
        samples = rng.integers(0, 255, (2, 32, 32)).astype(np.uint8)
        ids = np.where(samples[1] > 180, 2, samples[0] > 100).astype(np.uint8)
        ids[:4] = 255
        write_raster(folder / f'images/{name}.tif', samples, names=('red', 'nir'))
        ids = ids if label is None else np.full_like(ids, label)
        write_raster(folder / f'labels/{name}.png', ids)
        lines.append(f'images/{name}.tif\tlabels/{name}.png\n')
    (folder / 'list.txt').write_text(''.join(lines))
    return MultiBandSegDataset(
        data_root=str(folder), ann_file='list.txt', pipeline=PIPELINE,
        metainfo=dict(classes=CLASSES, bands=('red', 'nir')), label_convention='train_id',
    )  # fmt: skip


def test_trees_learn_what_single_pixels_tell(tmp_path, rng):
    training = tiles(tmp_path / 'a', rng, 'abcd')
    tested = tiles(tmp_path / 'b', rng, 'ef')
    result = evaluate_pixel_baseline([training], [tested])
    assert compute_scores(result.trees)['mIoU'] > 0.95
    assert result.trees.sum() == result.majority.sum() == 2 * 500
    assert (result.majority.sum(0) > 0).sum() == 1
    again = evaluate_pixel_baseline([training], [tested])
    assert (again.trees == result.trees).all()


def test_one_class_and_no_label(tmp_path, rng):
    single = tiles(tmp_path / 'a', rng, 'ab', label=1)
    result = evaluate_pixel_baseline([single], [single])
    assert result.trees[1, 1] == result.trees.sum() > 0
    unlabelled = tiles(tmp_path / 'b', rng, 'ab', label=255)
    with pytest.raises(UserError, match='no pixel of the training tiles is labelled'):
        evaluate_pixel_baseline([unlabelled], [single])


def test_resized_images_are_refused(tmp_path, rng):
    """In mmseg's order their labels have the original size."""
    dataset = tiles(tmp_path, rng, 'ab')
    steps = dataset.pipeline.transforms
    steps[1:] = [
        TRANSFORMS.build(dict(type='Resize', scale=(16, 16))),
        lambda results: {**results, 'gt_seg_map': np.full((32, 32), 2, np.uint8)},
    ]
    with pytest.raises(UserError, match='resizes images before it loads their labels'):
        evaluate_pixel_baseline([dataset], [dataset])


def test_labels_of_any_transform_count(tmp_path, rng):
    """For example those of mmseg's LoadAnnotations."""
    dataset = tiles(tmp_path, rng, 'ab')
    steps = dataset.pipeline.transforms
    steps[1] = lambda results: {**results, 'gt_seg_map': np.full((32, 32), 2, np.uint8)}
    result = evaluate_pixel_baseline([dataset], [dataset])
    assert result.trees[2, 2] == result.trees.sum() == 1000
    del steps[1]
    with pytest.raises(UserError, match='label'):
        evaluate_pixel_baseline([dataset], [dataset])

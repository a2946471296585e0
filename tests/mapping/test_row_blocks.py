"""Blocks of rows of a scene: their windows, and maps joined from them."""

import numpy as np
import pytest

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.mapping.blending import blending_weights
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.row_blocks import RowBlock, join_blocks, select_windows, split_rows
from dnas_mmseg.mapping.scene import (
    SceneSource,
    Tiling,
    predict_block,
    predict_scene,
    scene_windows,
)
from dnas_mmseg.raster import Raster, RasterError, write_raster

META = dict(classes=CLASSES, palette=PALETTE)
RASTERS = MapProducts(confidence=True, probabilities=True)


class PositionDependent:
    """Window model whose logits depend on the position in the window and in the batch.

    A block therefore equals the same rows of the scene only if it has the same windows and batches.
    """

    dataset_meta, num_bands, normalisation = META, 2, None

    def __init__(self, threshold=None):
        self.threshold = threshold
        self.windows = 0

    def logits(self, images):
        self.windows += len(images)
        height, width = images[0].shape[1:]
        ramp = np.linspace(-1, 1, height)[:, None] * np.linspace(0.3, 1, width)
        base = np.stack([image.numpy().astype(np.float32).mean(0) / 128 for image in images])
        order = np.arange(len(images))[:, None, None]
        count = 1 if self.threshold is not None else len(CLASSES)
        channels = [np.sin((k + 1) * (base + ramp + 0.1 * order)) for k in range(count)]
        return np.stack(channels, 1).astype(np.float32)


def write_scene(path, rng, height, width):
    samples = rng.integers(1, 255, (2, height, width)).astype(np.uint8)
    samples[:, 40:140, 10:90] = 0  # windows without a valid pixel, and windows with some
    write_raster(path, samples, nodata=0)
    return samples


def map_in_blocks(model, scene, target, folder, tiling, blocks, products):
    notes = []
    for block in reversed(blocks):  # in any order
        notes += predict_block(model, scene, block, folder, tiling=tiling, products=products)
    with Raster(scene) as raster:
        scheme = ClassScheme.from_metainfo(model.dataset_meta)
        join_blocks(raster.info, target, blocks, folder, scheme, products)
    return notes


@pytest.mark.parametrize('threshold', [None, 0.4], ids=['classes', 'binary'])
@pytest.mark.parametrize(
    ('height', 'overlap', 'min_rows', 'count'),
    [(300, 8, 2, 3), (300, 24, 1, 99), (301, 0, 1, 4), (333, 17, 3, 2), (20, 8, 1, 3)],
)
def test_joined_blocks_equal_the_map_of_the_scene_to_the_byte(
    tmp_path, rng, height, overlap, min_rows, count, threshold
):
    meta = dict(classes=('a', 'b'), palette=PALETTE[:2]) if threshold is not None else META
    write_scene(tmp_path / 's.tif', rng, height, 150)
    tiling = Tiling(32, overlap, batch=3)
    model = PositionDependent(threshold)
    model.dataset_meta = meta
    predict_scene(model, tmp_path / 's.tif', tmp_path / 'a/s.tif', tiling=tiling, products=RASTERS)
    windows = scene_windows(height, 150, tiling)
    blocks = split_rows(height, windows, overlap, min_rows, count)
    rows = len({window.row_off for window in windows})
    assert len(blocks) == max(1, min(count, rows // min_rows))
    assert [b.top for b in blocks[1:]] == [b.bottom for b in blocks[:-1]]
    folder = tmp_path / 'blocks'
    map_in_blocks(model, tmp_path / 's.tif', tmp_path / 'b/s.tif', folder, tiling, blocks, RASTERS)
    for name in ('s.tif', 's.tif.aux.xml', 'confidence/s.tif', 'probabilities/s.tif'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes(), name


def test_a_block_requires_one_row_of_windows_of_its_upper_neighbour():
    tiling = Tiling(512, 128)
    windows = scene_windows(6800, 7200, tiling)
    blocks = split_rows(6800, windows, 128, min_rows=4, max_blocks=2)
    selected = [select_windows(windows, block, 6800, 128) for block in blocks]
    rows = [len({window.row_off for window in group}) for group in selected]
    assert len({window.row_off for window in windows}) == 18
    assert rows == [9, 10]


@pytest.mark.parametrize('overlap', [0, 8, 20, 29])
def test_windows_of_a_block_are_all_that_have_weight_in_it(overlap):
    height, block = 200, RowBlock(70, 131)
    windows = scene_windows(height, 40, Tiling(32, overlap))

    def weight(window):
        ends = window.row_off == 0, window.row_off + window.height == height
        weights = np.zeros(height)
        rows = slice(window.row_off, window.row_off + window.height)
        weights[rows] = blending_weights(window.height, overlap, *ends)
        return weights[block.top : block.bottom].any()

    expected = [window for window in windows if weight(window)]
    assert select_windows(windows, block, height, overlap) == expected


def test_a_missing_block_leaves_no_map(tmp_path, rng):
    write_scene(tmp_path / 's.tif', rng, 100, 60)
    tiling, model = Tiling(32, 8), PositionDependent()
    blocks = split_rows(100, scene_windows(100, 60, tiling), 8, 1, 2)
    predict_block(model, tmp_path / 's.tif', blocks[0], tmp_path / 'blocks', tiling=tiling)
    with Raster(tmp_path / 's.tif') as raster:
        info = raster.info
    with pytest.raises(RasterError, match='map_'):
        join_blocks(
            info,
            tmp_path / 'm.tif',
            blocks,
            tmp_path / 'blocks',
            ClassScheme.from_metainfo(META),
        )
    assert not (tmp_path / 'm.tif').exists()


def test_a_scene_that_changes_leaves_no_block(tmp_path, rng):
    write_scene(tmp_path / 's.tif', rng, 100, 60)

    class Rewriting(PositionDependent):
        def logits(self, images):
            write_scene(tmp_path / 's.tif', rng, 100, 60)
            return super().logits(images)

    with pytest.raises(RasterError, match='changed during prediction'):
        predict_block(
            Rewriting(),
            SceneSource(tmp_path / 's.tif'),
            RowBlock(0, 50),
            tmp_path / 'blocks',
            tiling=Tiling(32, 8),
        )
    assert not list((tmp_path / 'blocks').iterdir())

"""Prediction of single scenes."""

import numpy as np
import pytest
import torch
from osgeo import gdal, osr
from torch import nn

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.blending import blending_weights
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import SceneSource, Tiling, predict_scene, scene_windows
from dnas_mmseg.models import MultiBandDataPreProcessor
from dnas_mmseg.raster import GeoReference, Raster, RasterError, read_raster, write_raster


def utm() -> str:
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32650)
    return reference.ExportToWkt()


class Equivariant(nn.Module):
    """Segmentor stub that is translation-equivariant: a convolution."""

    def __init__(self, bands=4, reach=3):
        super().__init__()
        self.data_preprocessor = MultiBandDataPreProcessor([100.0] * bands, [50.0] * bands)
        self.net = nn.Conv2d(bands, 5, 2 * reach + 1, padding=reach)
        self.sizes = []
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE)

    def encode_decode(self, inputs, metas):
        assert len(metas) == len(inputs)
        self.sizes.append(tuple(inputs.shape))
        return self.net(inputs)


@pytest.fixture
def model():
    return Equivariant().eval()


def scene(path, height, width, rng, **kwargs):
    samples = rng.integers(1, 255, (4, height, width)).astype(np.uint8)
    write_raster(path, samples, **kwargs)
    return samples


def whole(model, samples):
    """Return the logits of the whole scene in one pass."""
    with torch.no_grad():
        inputs = model.data_preprocessor({'inputs': [torch.from_numpy(samples)]})['inputs']
        return model.encode_decode(inputs, [None])[0].numpy()


@pytest.mark.parametrize('flips', [False, True])
@pytest.mark.parametrize('size', [(150, 170), (64, 64), (200, 65)])
def test_blended_windows_equal_the_whole_image_away_from_borders(model, tmp_path, rng, size, flips):
    if flips:  # make it flip-equivariant, too
        with torch.no_grad():
            weight = model.net.weight
            model.net.weight.copy_(sum(weight.flip(axes) for axes in ((), (2,), (3,), (2, 3))) / 4)
    samples = scene(tmp_path / 's.tif', *size, rng)
    tiling = Tiling(window=64, overlap=32, batch=3, flips=flips)
    # Zero padding reaches three pixels into a window; the weights are 0 for eight.
    notes = predict_scene(
        model, tmp_path / 's.tif', tmp_path / 'm.tif', tiling=tiling,
        products=MapProducts(probabilities=True),
    )  # fmt: skip
    assert notes == [f'{tmp_path / "s.tif"}: the scene has no CRS, so the map has none']
    logits = whole(model, samples)
    expected = torch.from_numpy(logits).softmax(0).numpy()
    got = read_raster(tmp_path / 'probabilities/m.tif')
    assert np.abs(got - 100 * expected).max() <= 0.501  # rounded to percent
    classes = read_raster(tmp_path / 'm.tif')[0]
    assert (classes == logits.argmax(0)).mean() > 0.9999
    assert all(shape[0] <= 3 for shape in model.sizes[:-1])


def test_without_overlap_windows_are_independent(model, tmp_path, rng):
    samples = scene(tmp_path / 's.tif', 64, 96, rng)
    predict_scene(model, tmp_path / 's.tif', tmp_path / 'm.tif', tiling=Tiling(32, 0, 2))
    got = read_raster(tmp_path / 'm.tif')[0]
    for row in (0, 32):
        for column in (0, 32, 64):
            part = (slice(row, row + 32), slice(column, column + 32))
            assert (got[part] == whole(model, samples[(slice(None), *part)]).argmax(0)).all()


def test_maps_have_georeference_colours_names_overviews_and_nodata(model, tmp_path, rng):
    samples = rng.integers(1, 255, (4, 700, 600)).astype(np.uint8)
    samples[:, 10:20, 30:50] = 0
    transform = (5e5, 4.0, 0.0, 3e6, 0.0, -4.0)
    place = GeoReference(utm(), transform=transform)
    write_raster(tmp_path / 's.tif', samples, georeference=place, nodata=0)
    steps = []
    notes = predict_scene(
        model, tmp_path / 's.tif', tmp_path / 'm.tif', tiling=Tiling(256, 64),
        products=MapProducts(confidence=True),
        advance=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert notes == []
    assert steps[-1] == (12, 12)
    with Raster(tmp_path / 'm.tif') as raster:
        info = raster.info
    assert (info.dtype, info.bands, info.georeference.transform) == ('uint8', 1, transform)
    assert 'UTM zone 50N' in info.georeference.crs
    classes = read_raster(tmp_path / 'm.tif')[0]
    missing = classes == 255
    assert missing[10:20, 30:50].all()
    assert missing.sum() == 200
    assert (read_raster(tmp_path / 'confidence/m.tif')[0] == 255).sum() == 200
    dataset = gdal.Open(str(tmp_path / 'm.tif'))
    band = dataset.GetRasterBand(1)
    assert band.GetOverviewCount() > 0
    assert band.GetNoDataValue() == 255
    assert band.GetColorTable().GetColorEntry(1)[:3] == PALETTE[1]
    assert dataset.GetMetadata()['class_4'] == 'water'
    assert dataset.GetMetadata('IMAGE_STRUCTURE')['LAYOUT'] == 'COG'


def test_a_scene_smaller_than_the_window(model, tmp_path, rng):
    samples = scene(tmp_path / 's.tif', 20, 30, rng)
    predict_scene(model, tmp_path / 's.tif', tmp_path / 'm.tif')
    assert (read_raster(tmp_path / 'm.tif')[0] == whole(model, samples).argmax(0)).all()


def test_bands_are_selected_and_counted(model, tmp_path, rng):
    samples = scene(tmp_path / 's.tif', 20, 30, rng, names=('red', 'green', 'blue', 'nir'))
    with pytest.raises(
        UserError, match=r'has 4 bands .red, green, blue, nir.; the model expects 4'
    ):
        predict_scene(model, SceneSource(tmp_path / 's.tif', [3, 0, 1]), tmp_path / 'm.tif')
    predict_scene(model, SceneSource(tmp_path / 's.tif', [3, 0, 1, 2]), tmp_path / 'm.tif')
    expected = whole(model, samples[[3, 0, 1, 2]]).argmax(0)
    assert (read_raster(tmp_path / 'm.tif')[0] == expected).all()


def test_unreadable_blocks_fail_or_are_skipped(model, tmp_path, rng):
    samples = rng.integers(1, 4, (4, 600, 300)).astype(np.uint8)
    options = ('PHOTOMETRIC=MINISBLACK', 'TILED=YES', 'COMPRESS=DEFLATE')
    write_raster(tmp_path / 's.tif', samples, options=options)
    content = bytearray((tmp_path / 's.tif').read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = rng.bytes(3000)
    (tmp_path / 's.tif').write_bytes(content)
    tiling = Tiling(128, 32)
    with pytest.raises(RasterError, match=r's\.tif: samples at Window.*skip_bad_blocks'):
        predict_scene(model, tmp_path / 's.tif', tmp_path / 'm.tif', tiling=tiling)
    assert [p.name for p in tmp_path.iterdir()] == ['s.tif']
    notes = predict_scene(
        model,
        SceneSource(tmp_path / 's.tif', skip_bad_blocks=True),
        tmp_path / 'm.tif',
        tiling=tiling,
    )
    assert any('samples at Window' in note for note in notes)
    missing = read_raster(tmp_path / 'm.tif')[0] == 255
    assert 0.05 < missing.mean() < 0.9


def test_reduced_precision_changes_few_classes(model, tmp_path, rng):
    scene(tmp_path / 'scene.tif', 64, 64, rng)
    maps = {}
    for precision in ('float32', 'bfloat16'):
        target = tmp_path / f'{precision}.tif'
        tiling = Tiling(precision=precision)
        predict_scene(model, tmp_path / 'scene.tif', target, tiling=tiling)
        maps[precision] = read_raster(target)
    agreement = (maps['float32'] == maps['bfloat16']).mean()
    assert 0.97 < agreement < 1
    with pytest.raises(UserError, match="precision 'half': choose float32, bfloat16, float16"):
        tiling = Tiling(precision='half')
        predict_scene(model, tmp_path / 'scene.tif', tmp_path / 'x', tiling=tiling)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_logits_that_are_no_numbers_are_an_error(model, tmp_path, rng, value):
    scene(tmp_path / 'scene.tif', 64, 64, rng)
    model.net.bias.data[1] = value
    with pytest.raises(UserError, match=r'scene\.tif: the network returned NaN or infinite values'):
        predict_scene(model, tmp_path / 'scene.tif', tmp_path / 'm.tif', tiling=Tiling(32, 8))
    assert not (tmp_path / 'm.tif').exists()


def test_blending_weights():
    inner = blending_weights(64, 32, False, False)
    np.testing.assert_allclose(inner, inner[::-1], atol=1e-6)
    assert (inner[:8] == 0).all()
    assert (np.diff(inner[:32]) >= 0).all()
    assert (blending_weights(64, 32, True, True) == 1).all()
    assert (blending_weights(64, 0, False, False) == 1).all()
    # Where two neighbours overlap, their weights never vanish together.
    left, right = blending_weights(64, 32, True, False), blending_weights(64, 32, False, True)
    assert (left[32:] + right[:32] > 0.5).all()


@pytest.mark.parametrize('wrong', [dict(window=0), dict(overlap=512), dict(batch=0)])
def test_tilings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError):
        Tiling(**wrong)


def test_nodata_of_float_scenes_is_treated_as_in_training(model, tmp_path, rng):
    samples = rng.random((4, 40, 40)).astype(np.float32) * 200
    samples[:, :, 20:] = -9999
    write_raster(tmp_path / 's.tif', samples, nodata=-9999)
    predict_scene(model, tmp_path / 's.tif', tmp_path / 'm.tif')
    samples[:, :, 20:] = np.nan
    expected = whole(model, samples).argmax(0)
    got = read_raster(tmp_path / 'm.tif')[0]
    assert (got[:, :20] == expected[:, :20]).all()
    assert (got[:, 20:] == 255).all()


@pytest.mark.parametrize('overlap', [0, 1, 16, 40, 63])
@pytest.mark.parametrize('length', [1, 63, 64, 65, 128, 129, 500, 1001])
def test_windows_are_as_few_as_possible_and_evenly_spaced(length, overlap):
    windows = scene_windows(length, 70, Tiling(64, overlap))
    rows = sorted({window.row_off for window in windows})
    side = min(64, length)
    assert {window.height for window in windows} == {side}
    assert (rows[0], rows[-1] + side) == (0, length)
    steps = np.diff(rows)
    if len(rows) > 1:
        assert steps.max() <= 64 - overlap
        assert steps.max() - steps.min() <= 1
        assert (len(rows) - 1) * (64 - overlap) < length - overlap  # one fewer would not do
    assert len(windows) == len(rows) * len({window.col_off for window in windows})

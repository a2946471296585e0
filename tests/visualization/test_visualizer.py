import mmcv
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE


@pytest.fixture
def visualizer(request):
    result = VISUALIZERS.build(
        dict(type='MultiBandLocalVisualizer', name=request.node.name, alpha=0.5)
    )
    result.set_dataset_meta(classes=CLASSES, palette=PALETTE, bands=BANDS)
    return result


def sample(ids):
    data = PixelData(data=torch.from_numpy(ids)[None])
    return SegDataSample(gt_sem_seg=data, pred_sem_seg=data)


@pytest.mark.parametrize(('dtype', 'bands'), [('uint8', 4), ('uint16', 4), ('float32', 6)])
def test_any_number_of_bands_and_dtype_is_drawn(visualizer, tmp_path, rng, dtype, bands):
    ids = np.full((60, 80), 255, np.uint8)
    ids[:, 40:] = 4
    image = rng.integers(0, 250, (60, 80, bands)).astype(dtype)
    if dtype == 'uint16':
        image = image * 40  # far above 255: clipping or overflow would change the result
    out = tmp_path / 'p.png'
    visualizer.add_datasample('p', image, sample(ids), draw_gt=False, out_file=str(out))
    picture = mmcv.imread(str(out), channel_order='rgb')
    assert picture.shape[1] == 80
    shown = image[..., :3].astype(float)  # nir, red, green
    low, high = np.percentile(shown, (2, 98), axis=(0, 1))
    shown = ((shown - low) / (high - low)).clip(0, 1) * 255
    assert np.abs(picture[:60, :40] - shown[:, :40]).max() <= 1  # without a class, the image
    blue = 0.5 * shown[:, 40:] + 0.5 * np.array(PALETTE[4])
    assert np.abs(picture[:60, 40:] - blue).max() <= 1


def test_panels_and_legend(visualizer, rng):
    image, ids = rng.integers(0, 250, (30, 200, 4)), np.zeros((30, 200), np.uint8)
    visualizer.add_datasample('p', image, sample(ids), with_image=True, with_labels=False)
    assert visualizer.get_image().shape == (30, 600, 3)
    visualizer.add_datasample('p', image, sample(ids), draw_gt=False)
    picture = visualizer.get_image()
    assert picture.shape[1] == 200
    strip = picture[30:]
    for colour in PALETTE:
        assert (strip == np.array(colour)).all(-1).sum() >= 100

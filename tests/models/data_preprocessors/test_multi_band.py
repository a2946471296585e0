import warnings

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from dnas_mmseg.errors import UserError


def build(bands=4, mean=100.0, std=50.0, **kwargs):
    return MODELS.build(
        dict(type='MultiBandDataPreProcessor', mean=[mean] * bands, std=[std] * bands, **kwargs)
    )


@pytest.mark.parametrize('bands', [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.uint16, torch.float32])
def test_any_number_of_bands_and_dtype_is_normalised(bands, dtype):
    image = torch.arange(bands * 6).view(bands, 2, 3)
    out = build(bands)({'inputs': [image.to(dtype)]})['inputs']
    torch.testing.assert_close(out, ((image.float() - 100) / 50)[None])


def test_a_training_batch_is_padded_to_its_largest_image():
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, *size, dtype=torch.long)))
        for size in ((8, 8), (6, 9))
    ]
    inputs = [torch.zeros(4, 8, 8), torch.zeros(4, 6, 9)]
    out = build()({'inputs': inputs, 'data_samples': samples}, training=True)
    assert out['inputs'].shape == (2, 4, 8, 9)
    assert (out['data_samples'][1].gt_sem_seg.data[0, 6:] == 255).all()


def test_a_wrong_number_of_bands_reports_the_file():
    sample = SegDataSample(metainfo=dict(img_path='five.tif'))
    with pytest.raises(ValueError, match=r'five\.tif has 5 bands, but mean and std .* have 4'):
        build()({'inputs': [torch.zeros(5, 4, 4)], 'data_samples': [sample]})


def test_non_finite_samples_become_the_mean():
    image = torch.full((4, 2, 2), 150.0)
    image[:, 0, 0] = float('nan')
    image[:, 0, 1] = float('inf')
    out = build()({'inputs': [image]})['inputs']
    assert (out[0, :, 0] == 0).all()
    assert out[0, :, 1, 1].tolist() == [1.0] * 4


def test_statistics_of_another_bit_depth_trigger_a_warning():
    image = torch.full((4, 2, 2), 4000, dtype=torch.uint16)
    with pytest.warns(UserWarning, match='uint16, up to 4000.*look like 8-bit statistics'):
        build()({'inputs': [image]})
    dark = torch.zeros(4, 2, 2, dtype=torch.uint16)
    ten_bits = torch.full((4, 2, 2), 900, dtype=torch.uint16)
    preprocessor = build()
    preprocessor({'inputs': [dark]})
    with pytest.warns(UserWarning, match='uint16, up to 900'):
        preprocessor({'inputs': [dark, ten_bits]})
    with pytest.warns(UserWarning, match='look like integer statistics'):
        build()({'inputs': [torch.rand(4, 2, 2)]})
    with pytest.warns(UserWarning, match='look like 16-bit statistics'):
        build(mean=3000.0, std=900.0)({'inputs': [torch.zeros(4, 2, 2, dtype=torch.uint8)]})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build(mean=3000.0, std=900.0)({'inputs': [image]})
        build()({'inputs': [torch.full((4, 2, 2), 200, dtype=torch.uint8)]})


def test_invalid_statistics_raise_errors():
    with pytest.raises(ValueError, match='mean has 3 bands, std has 4'):
        MODELS.build(dict(type='MultiBandDataPreProcessor', mean=[1.0] * 3, std=[1.0] * 4))
    with pytest.raises(ValueError, match='must be positive'):
        build(std=0.0)


def test_conversions_of_channels_are_refused():
    settings = dict(type='MultiBandDataPreProcessor', mean=[1.0] * 3, std=[1.0] * 3)
    assert MODELS.build(dict(settings, bgr_to_rgb=False)) is not None
    with pytest.raises(UserError, match='does not convert channels'):
        MODELS.build(dict(settings, bgr_to_rgb=True))

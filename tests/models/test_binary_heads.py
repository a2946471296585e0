"""Binary heads with one output channel, from loss to map."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.nn import functional as F

from dnas_mmseg.apis import OnnxModel, export_onnx
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.models import LabelledCrossEntropyLoss, LabelledDiceLoss
from dnas_mmseg.raster import read_raster, write_raster
from dnas_mmseg.spaces.registry import SPACES

from ..conftest import ROOT


def binary_batch():
    torch.manual_seed(0)
    label = torch.randint(0, 2, (2, 6, 5))
    label[0, :2] = 255
    return torch.randn(2, 1, 6, 5), label


def test_cross_entropy_of_one_logit_is_binary_cross_entropy():
    logits, label = binary_batch()
    labelled = label != 255
    expected = F.binary_cross_entropy_with_logits(logits[:, 0][labelled], label[labelled].float())
    for loss in (LabelledCrossEntropyLoss(), LabelledCrossEntropyLoss(use_sigmoid=True)):
        torch.testing.assert_close(loss(logits, label), expected)
    with pytest.raises(
        UserError, match=r'use_sigmoid=True contradicts a head with 3 output channels'
    ):
        LabelledCrossEntropyLoss(use_sigmoid=True)(torch.randn(2, 3, 6, 5), label)
    with pytest.raises(
        UserError, match=r'use_sigmoid=False contradicts a head with 1 output channels'
    ):
        LabelledCrossEntropyLoss(use_sigmoid=False)(logits, label)


def test_dice_loss_of_one_logit_equals_two_classes():
    logits, label = binary_batch()
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    loss = LabelledDiceLoss()
    torch.testing.assert_close(loss(logits, label), loss(two, label))


@pytest.fixture(scope='module')
def binary_run(tmp_path_factory):
    """A config with a binary head, trained on tiles whose first band determines the class."""
    root = tmp_path_factory.mktemp('binary')
    rng = np.random.default_rng(0)
    lines = []
    for i in range(6):
        ids = np.repeat(rng.integers(0, 2, (4, 4)), 8, 0).repeat(8, 1).astype(np.uint8)
        samples = rng.integers(0, 60, (4, 32, 32)) + 150 * ids
        write_raster(root / f'data/images/{i}.tif', samples.astype(np.uint8), names=BANDS)
        write_raster(root / f'data/labels/{i}.png', ids)
        lines.append(f'images/{i}.tif\tlabels/{i}.png\n')
    for split in ('train', 'val', 'test'):
        (root / f'data/{split}.txt').write_text(''.join(lines))
    DatasetDescription(bands=BANDS, classes=('no', 'yes'), label_convention='train_id').save(
        root / 'data'
    )
    architecture = SPACES['dnas'].sample({'layers': 4}, np.random.default_rng(0), 'small')
    architecture.save(root / 'small.json')  # small, so that export is fast
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
    config.merge_from_dict(
        dict(
            work_dir=str(root / 'run'),
            model=dict(
                data_preprocessor=dict(mean=[100.0] * 4, std=[50.0] * 4),
                backbone=dict(architecture=str(root / 'small.json'), base_channels=2),
                decode_head=dict(
                    channels=8,
                    num_classes=2,
                    out_channels=1,
                    threshold=0.4,
                    loss_decode=dict(type='LabelledCrossEntropyLoss', use_sigmoid=True),
                ),
            ),
            train_cfg=dict(max_epochs=3),
            log_level='ERROR',
            experiment_name='binary',
        )
    )
    config.visualizer.name = 'binary'
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader.dataset.update(type='MultiBandSegDataset', data_root=str(root / 'data'))
        loader.num_workers = 0
        loader.dataset.pipeline = [
            step for step in loader.dataset.pipeline if step['type'] != 'RandomCrop'
        ]
    runner = Runner.from_cfg(config)
    runner.train()
    return config, root, runner


BANDS = ('nir', 'red', 'green', 'blue')


def test_validation_counts_both_classes(binary_run):
    _, root, _ = binary_run
    (log,) = root.glob('run/*/vis_data/scalars.json')
    last = [json.loads(line) for line in log.read_text().splitlines() if 'mIoU' in line][-1]
    assert {'IoU.no', 'IoU.yes'} <= set(last)
    assert 0 <= last['mIoU'] <= 100


def test_maps_and_onnx_agree_with_the_head(binary_run, tmp_path):
    config, root, _ = binary_run
    model = load_segmentor(config, root / 'run/epoch_3.pth', 'cpu')
    assert len(model.dataset_meta['palette']) == 2  # the default: the data set defines none
    image = root / 'data/images/0.tif'
    samples = torch.from_numpy(read_raster(image))
    with torch.no_grad():
        logits = model.encode_decode(
            model.data_preprocessor({'inputs': [samples]})['inputs'],
            [dict(img_shape=(32, 32), ori_shape=(32, 32), pad_shape=(32, 32))],
        )
    # A threshold at the median, so that the map contains both classes.
    model.decode_head.threshold = float(np.median(logits.sigmoid()))
    right = (logits.sigmoid() > model.decode_head.threshold)[0, 0].numpy()
    assert 0.2 < right.mean() < 0.8
    (target,) = predict_scenes(
        model, [image], tmp_path / 'torch', products=MapProducts(probabilities=True)
    )
    np.testing.assert_array_equal(read_raster(target)[0], right)
    percent = read_raster(tmp_path / 'torch/probabilities/0.tif').astype(int)
    expected = 100 * logits.sigmoid()[0, 0].numpy()
    assert np.abs(percent[1] - expected).max() <= 0.501
    assert np.abs(percent.sum(0) - 100).max() <= 1
    export_onnx(model, tmp_path / 'm.onnx', window=32)
    exported = OnnxModel(tmp_path / 'm.onnx', 'cpu')
    (target,) = predict_scenes(exported, [image], tmp_path / 'onnx')
    assert (read_raster(target)[0] == right).mean() > 0.99

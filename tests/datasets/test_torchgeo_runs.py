"""Training, testing and checking on data sets of torchgeo, on a module in its place."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from dnas_mmseg.datasets import TorchGeoDataset, dataset_parts
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.dataset_report import check_dataset
from dnas_mmseg.engine.running import test as run_test
from dnas_mmseg.engine.running import train, weight_classes

from .fake_torchgeo import LOAD


def make_config(tmp_path, root, **settings):
    """Config that trains a small network on Fields for four epochs."""

    def loader(split, **options):
        dataset = dict(
            type='TorchGeoDataset', dataset='Fields', root=root, split=split,
            pipeline=[*LOAD, dict(type='PackSegInputs')], **settings, **options,
        )  # fmt: skip
        return dict(
            batch_size=2, num_workers=0, dataset=dataset, drop_last=split == 'train',
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        )  # fmt: skip

    (tmp_path / 'fields.py').write_text(
        f"_base_ = '{Path(__file__).parents[2]}/configs/_base_/default_runtime.py'\n"
    )
    config = Config.fromfile(str(tmp_path / 'fields.py'))
    evaluators = [dict(type='ConfusionMetric'), dict(type='IoUMetric', prefix='stock')]
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'work'),
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='MultiBandDataPreProcessor', mean=[1000.0] * 4, std=[800.0] * 4
                ),
                backbone=dict(
                    type='UNet', in_channels=4, base_channels=4, num_stages=2, strides=(1, 1),
                    enc_num_convs=(1, 1), dec_num_convs=(1,), downsamples=(True,),
                    enc_dilations=(1, 1), dec_dilations=(1,),
                ),
                decode_head=dict(
                    type='FCNHead', in_channels=4, in_index=1, channels=4, num_convs=1,
                    num_classes=3, loss_decode=dict(type='LabelledCrossEntropyLoss'),
                ),
                train_cfg=dict(), test_cfg=dict(mode='whole'),
            ),
            train_dataloader=loader('train'),
            val_dataloader=loader('val', test_mode=True),
            test_dataloader=loader('val', test_mode=True),
            val_evaluator=evaluators[:1],
            test_evaluator=evaluators,
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=4),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.02)),
            default_hooks=dict(
                visualization=dict(type='MultiBandVisualizationHook', interval=1, number=1)
            ),
            randomness=dict(seed=0),
        )
    )  # fmt: skip
    return config


def test_training_and_test(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    runner = train(config)
    assert runner.epoch == 4
    assert [type(part) for part in dataset_parts(runner.train_dataloader.dataset)] == [
        TorchGeoDataset
    ]
    pictures = sorted(path.name for path in Path(config.work_dir).rglob('val_*.png'))
    assert pictures == ['val_Fields-val-0_12.png']
    again = make_config(tmp_path, root)
    scores = run_test(again, str(tmp_path / 'work/epoch_4.pth'), flips=True)
    assert set(scores) >= {'mIoU', 'OA', 'IoU.water'}
    assert scores['stock/mIoU'] == pytest.approx(scores['mIoU'])
    assert scores['stock/aAcc'] == pytest.approx(scores['OA'])
    assert scores['OA'] > 50


def test_check(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    report = check_dataset(config)
    (train_split, val_split, _) = report.splits
    dataset = TorchGeoDataset('Fields', root=root, split='train', pipeline=LOAD)
    images = np.stack([dataset.source[i]['image'].numpy() for i in range(6)])
    masks = np.stack([dataset.source[i]['mask'].numpy() for i in range(6)])
    np.testing.assert_allclose(train_split.summary.mean, images.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(train_split.summary.std, images.std((0, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(train_split.summary.class_pixels, np.bincount(masks.ravel()))
    assert 'bands: blue, green, red, nir' in train_split.config_text()
    assert train_split.problems == val_split.problems == []
    assert report.problems == ['6 tiles are in val and in test, e.g. Fields-val-0']
    assert train_split.summary.notes == [
        'Fields-train: torchgeo decodes the files; their nodata tags, masks and georeference are '
        'not checked'
    ]
    parallel = list(dataset.inspect(statistics=True, workers=2))
    assert [r.digest for r in parallel] == [r.digest for r in dataset.inspect(statistics=True)]


def test_class_weights(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    weights = weight_classes(config)
    assert len(weights) == 3
    assert config.model.decode_head.loss_decode.class_weight == weights


def test_wrappers_and_workers(fake, root):
    part = dict(type='TorchGeoDataset', dataset='Fields', root=root)
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    parts = [dict(part, split=split, pipeline=pipeline) for split in ('train', 'val')]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    loader = DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate)
    samples = [sample for batch in loader for sample in batch['data_samples']]
    assert [sample.img_path for sample in samples] == [
        f'Fields-{split}-{i}' for split in ('train', 'val') for i in range(6)
    ]
    mixed = DATASETS.build(
        dict(type='MultiImageMixDataset', dataset=dict(parts[0], pipeline=LOAD),
             pipeline=[dict(type='RandomClassMix', prob=1.0), dict(type='PackSegInputs')])
    )  # fmt: skip
    assert mixed[0]['inputs'].shape == (4, 32, 32)


def test_name_of_a_data_set_is_no_wrapper():
    leaf = dict(type='TorchGeoDataset', dataset='LoveDA')
    loader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=leaf))
    assert list(leaf_datasets(loader)) == [leaf]

"""Every config parses, builds and runs a step of training on its bands."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample

from .conftest import ROOT

CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix() for path in (ROOT / 'configs').glob('[!_]*/*.py')
)


def test_the_promised_configs_are_there():
    assert set(CONFIGS) >= {
        'dnas/dnas_l12_gid5.py',
        'dnas/dnas_l14_gid5.py',
        *(
            f'dnas/dnas_l{layers}_{level}-search_gid5.py'
            for layers in (12, 14)
            for level in ('path', 'connection', 'cell')
        ),
        *(f'dnas/dnas_l{layers}_{data}.py' for layers in (12, 14) for data in ('gid15', 'fbp')),
        'pspnet/pspnet_r50-d8_gid5.py',
        'deeplabv3plus/deeplabv3plus_r50-d8_gid5.py',
        'hrnet/fcn_hr18_gid5.py',
        'hrnet/fcn_hr48_gid5.py',
        *(f'autodeeplab/autodeeplab_{n}_gid5.py' for n in ('s', 'm', 'l', 'search')),
        *(f'autodeeplab/autodeeplab_{n}_cityscapes.py' for n in ('s', 'm', 'l', 'search')),
    }


@pytest.mark.parametrize('name', CONFIGS)
def test_a_step_of_training(name):
    config = Config.fromfile(str(ROOT / 'configs' / name))
    if 'size' in config.model.data_preprocessor:  # to which it fills up
        config.model.data_preprocessor.size = (65, 64)
    model = MODELS.build(config.model)
    bands = 3 if 'cityscapes' in name or 'rgb' in name else 4
    assert next(p for p in model.backbone.parameters() if p.ndim == 4).shape[1] == bands
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 65, 64)))) for _ in range(2)
    ]
    data = dict(
        inputs=[torch.randint(0, 255, (bands, 65, 64), dtype=torch.uint8)] * 2, data_samples=samples
    )
    data = model.data_preprocessor(data, training=True)
    losses = model(**data, mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    trained = [p.grad is not None for p in model.parameters() if p.requires_grad]
    assert any(trained) if config.get('find_unused_parameters') else all(trained)
    assert config.train_dataloader.drop_last
    assert not (config.val_dataloader or {}).get('drop_last')
    assert not config.test_dataloader.get('drop_last')
    assert config.default_hooks.checkpoint.type == 'AtomicCheckpointHook'


@pytest.mark.parametrize('bands', [1, 3, 13])
@pytest.mark.parametrize(
    'name', ['unet/unet_lite0_naip', 'fpn/fpn_r18_naip', 'segformer/segformer_mit-b0_naip']
)
def test_any_bands_and_odd_sizes_at_batch_size_1(name, bands):
    config = Config.fromfile(str(ROOT / f'configs/{name}.py'))
    config.model.backbone.in_channels = bands
    config.model.data_preprocessor.update(mean=[100] * bands, std=[50] * bands)
    model = MODELS.build(config.model)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 97, 65))))
    data = dict(inputs=[torch.randint(0, 255, (bands, 97, 65))], data_samples=[sample])
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    losses['decode.loss_ce'].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_published_schedule():
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l14_gid5.py'))
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4
    )
    assert config.train_cfg.max_epochs == config.param_scheduler.T_max == 200
    assert config.param_scheduler.min_lr == 1e-3
    assert config.train_dataloader.batch_size == 2
    assert config.crop_size == (512, 512)
    preprocessor = config.model.data_preprocessor
    assert preprocessor.mean == [255 * m for m in (0.485, 0.456, 0.406, 0.411)]
    assert preprocessor.std == [255 * s for s in (0.229, 0.224, 0.225, 0.227)]


def test_the_published_search():
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l14_path-search_gid5.py'))
    assert config.train_cfg.max_epochs == config.param_scheduler.T_max == 60
    assert config.param_scheduler.min_lr == 1e-3
    (hook,) = config.custom_hooks
    built = HOOKS.build(hook)
    assert built.optimizer_cfg == dict(type='Adam', lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3)
    assert config.train_dataloader.batch_size == 2
    assert config.crop_size == (512, 512)


def test_the_published_schedules_of_auto_deeplab():
    """Inherited for both data sets, on both lines of mmseg."""
    for data, classes in (('gid5', 5), ('cityscapes', 19)):
        config = Config.fromfile(str(ROOT / f'configs/autodeeplab/autodeeplab_search_{data}.py'))
        assert config.model.decode_head.num_classes == classes
        assert config.train_cfg.max_epochs == config.param_scheduler.T_max == 40
        assert config.param_scheduler.eta_min == 1e-3
        optimizer = dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4)
        assert config.optim_wrapper.optimizer == optimizer
        (hook,) = config.custom_hooks
        assert hook.arch_start * 40 == 20
        assert hook.optimizer == dict(type='Adam', lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3)
        assert config.train_dataloader.batch_size == 2
        crop = next(s for s in config.train_dataloader.dataset.pipeline if s.type == 'RandomCrop')
        assert crop.crop_size == (321, 321)
        retrain = Config.fromfile(str(ROOT / f'configs/autodeeplab/autodeeplab_s_{data}.py'))
        assert retrain.param_scheduler.type == 'PolyLR'
        assert retrain.optim_wrapper.optimizer.lr == 0.05
        assert retrain.custom_hooks == [dict(type='ScheduledDropPathHook')]
    assert retrain.train_dataloader.dataset.type == 'CityscapesDataset'
    assert retrain.train_dataloader.dataset.data_prefix.img_path == 'leftImg8bit/train'

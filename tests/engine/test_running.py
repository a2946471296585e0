"""Training and testing: checks before the start, and console output."""

import copy
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, HOOKS, MODELS

from dnas_mmseg import apis
from dnas_mmseg.apis import train, weight_classes
from dnas_mmseg.datasets import DatasetDescription, class_weights
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.datasets.gid5 import CLASSES
from dnas_mmseg.engine.config_checks import check_sync_batch_norm
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.running import build_runner, freeze_encoder, stop_early
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, make_data_root

DNAS = 'configs/dnas/dnas_l12_gid5.py'
PSPNET = 'configs/pspnet/pspnet_r18-d8_gid5.py'
NARROW = {'model.backbone.base_channels': 2, 'model.decode_head.channels': 8}


def short(data_root, work_dir, path=DNAS, **options) -> Config:
    """Return the config of a training run of one epoch on a few small tiles."""
    options = {
        **(NARROW if path == DNAS else {'model.backbone.init_cfg': None}),
        'train_cfg.max_epochs': 1,
        'param_scheduler.T_max': 1,
        'experiment_name': str(work_dir),
        'visualizer.name': str(work_dir),
        **{f'{split}_dataloader.num_workers': 0 for split in ('train', 'val', 'test')},
        **options,
    }
    return load_config(ROOT / path, data_root=data_root, work_dir=str(work_dir), options=options)


@pytest.fixture
def config(data_root, tmp_path):
    return short(data_root, tmp_path / 'run')


def test_the_console_is_short_and_the_log_file_complete(config, tmp_path, capsys):
    train(config)
    console = capsys.readouterr().out
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert f'environment, config and hooks are logged in {log}' in console
    for heading in ('System environment:', 'Config:\n', 'Hooks will be executed'):
        assert heading not in console
        assert heading in log.read_text()
    assert 'Epoch(train) [1][2/2]' in console
    assert len(console.splitlines()) < 40


def test_training_on_a_cpu_is_in_channels_last(config):
    weights = [p for p in build_runner(config).bare_model.parameters() if p.dim() == 4]
    assert len(weights) > 20
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_resuming_without_a_checkpoint_warns(config, data_root, tmp_path, capsys):
    config.resume, config.param_scheduler = True, None
    train(config)
    assert 'contains no checkpoint; training starts from scratch' in capsys.readouterr().out
    again = short(data_root, tmp_path / 'run', **{'train_cfg.max_epochs': 2, 'resume': True})
    again.experiment_name = again.visualizer.name = f'{tmp_path} again'
    again.param_scheduler = None
    assert train(again).epoch == 2
    assert 'contains no checkpoint' not in capsys.readouterr().out


def test_unlabelled_validation_data_are_refused(config, data_root):
    """Their mIoU would be NaN, and there would be no best checkpoint."""
    for image_and_label in (data_root / 'val.txt').read_text().splitlines():
        label = data_root / image_and_label.split('\t')[1]
        write_raster(label, np.full((64, 64), 255, np.uint8))
    with pytest.raises(UserError, match=r'the validation data have no labelled pixel .*val\.txt'):
        build_runner(config)


def test_backends_without_their_package_are_refused(config, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.engine.config_checks.find_spec', lambda name: None)
    build_runner(config)
    config.visualizer.vis_backends = [dict(type='WandbVisBackend')]
    with pytest.raises(UserError, match=r'WandbVisBackend requires wandb, .*: pip install wandb'):
        build_runner(config)


def test_the_console_has_no_notes_to_developers(config, capsys):
    train(config)
    console = capsys.readouterr().out
    for words in ('FileClient', 'HardDiskBackend', 'prefix is not set', 'SyncBN', 'OneDL'):
        assert words not in console


def test_mixed_precision_requires_a_gpu(config, tmp_path, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.engine.config_checks.get_device', lambda: 'cpu')
    config.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(UserError, match=r'mixed precision .* requires a GPU'):
        build_runner(config)
    assert not (tmp_path / 'run').exists()


def test_synchronised_batch_norm_requires_gpus(config, tmp_path, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.engine.config_checks.get_device', lambda: 'cpu')
    config.sync_bn = 'torch'
    check_sync_batch_norm(config)  # a single process does not use it
    config.launcher = 'pytorch'
    with pytest.raises(UserError, match=r'synchronised batch norm \(--sync-bn, .* requires GPUs'):
        build_runner(config)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.backbone.base_chanels', r"DNAS has no argument 'base_chanels' .*base_channels\?"),
        ('train_cfg.max_epoch', r"EpochBasedTrainLoop has no argument 'max_epoch' .*max_epochs\?"),
        ('val_cfg.fp61', r"val_cfg: ValLoop has no argument 'fp61'"),
        ('optim_wrapper.optimizer.lrr', r"SGD has no argument 'lrr' \(did you mean lr\?\)"),
        ('default_hooks.loger.interval', "has no 'type'"),
    ],
)
def test_misspelt_settings_are_one_line_errors(data_root, tmp_path, option, message):
    with pytest.raises(UserError, match=message) as caught:
        train(short(data_root, tmp_path / 'run', **{option: 3}))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model.decode_head.num_classes': 4},
            r'^model\.decode_head\.num_classes=4, but the training data set has 5 classes '
            r'\(built-up, farmland, forest, meadow, water\)',
        ),
        (
            {'model.decode_head.num_classes': 1},
            r'num_classes=1: softmax over one class.*out_channels=1',
        ),
    ],
)
def test_heads_must_have_the_classes_of_the_data(data_root, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        build_runner(short(data_root, tmp_path / 'run', **options))


def test_auxiliary_heads_must_have_the_classes_too(data_root, tmp_path):
    config = short(data_root, tmp_path / 'run', PSPNET)
    second = {**config.model.auxiliary_head, 'num_classes': 6}
    config.model.auxiliary_head = [config.model.auxiliary_head, second]
    with pytest.raises(UserError, match=r'model\.auxiliary_head\[1\]\.num_classes=6, but'):
        build_runner(config)


def test_classes_of_wrapped_data_sets_are_checked(data_root, tmp_path):
    config = short(data_root, tmp_path / 'run', **{'model.decode_head.num_classes': 4})
    for split in ('train', 'val'):
        loader = config[f'{split}_dataloader']
        merged = {**loader.dataset, 'type': 'MultiBandSegDataset'}
        merged['metainfo'] = dict(classes=('built-up', 'farmland', 'forest', 'water'))
        whole = merged if split == 'train' else loader.dataset
        repeated = dict(type='RepeatDataset', times=2, dataset=whole)
        loader.dataset = dict(type='ConcatDataset', datasets=[repeated])
    with pytest.raises(UserError, match=r'num_classes=4, but the validation data set has 5'):
        build_runner(config)


def test_binary_heads_are_supported(data_root, tmp_path):
    config = short(data_root, tmp_path / 'run')
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.5)
    for split in ('train', 'val'):
        for leaf in leaf_datasets(config[f'{split}_dataloader']):
            leaf.update(type='MultiBandSegDataset', metainfo=dict(classes=('forest', 'water')))
    assert build_runner(config).bare_model.decode_head.out_channels == 1


def test_batches_of_one_image_with_pooling_heads_are_refused(data_root, tmp_path):
    options = {'train_dataloader.batch_size': 1, 'val_cfg': None, 'val_dataloader': None}
    config = short(data_root, tmp_path / 'run', PSPNET, **options, val_evaluator=None)
    with pytest.raises(UserError, match=r'batch_size to at least 2 .* --sync-bn, .*GN'):
        build_runner(config)
    norm = dict(type='GN', num_groups=4)
    for head in (config.model.decode_head, config.model.auxiliary_head):
        head.norm_cfg = norm
    build_runner(config)


class TestUnlabelledData:
    @pytest.fixture
    def images_only(self, config, data_root):
        (data_root / 'images.txt').write_text('images/t_0_0.tif\nimages/t_1_0.tif\n')
        nothing = dict(ann_file='images.txt', data_prefix=dict(seg_map_path=None))
        for split in ('train', 'test'):
            config[f'{split}_dataloader'].dataset.update(nothing)
        return config

    @pytest.fixture
    def checkpoint(self, config, tmp_path):
        build = {**config, 'work_dir': str(tmp_path / 'first'), 'experiment_name': 'first'}
        runner = build_runner(Config(build))
        torch.save({'state_dict': runner.model.state_dict()}, tmp_path / 'c.pth')
        return str(tmp_path / 'c.pth')

    def test_classes_in_another_order_are_refused(self, checkpoint, config):
        saved = torch.load(checkpoint, weights_only=True)
        saved['meta'] = dict(dataset_meta=dict(classes=CLASSES[::-1]))
        torch.save(saved, checkpoint)
        with pytest.raises(UserError, match=r'trained on the classes water, .* another train id'):
            apis.test(config, checkpoint)

    def test_testing_is_refused(self, checkpoint, images_only):
        with pytest.raises(UserError, match=r'remove LoadRasterAnnotations .*dnas predict'):
            apis.test(images_only, checkpoint)

    def test_testing_is_refused_without_the_loading_step(self, checkpoint, images_only):
        del images_only.test_dataloader.dataset.pipeline[1]
        with pytest.raises(UserError, match=r'cannot be scored: use dnas predict'):
            apis.test(images_only, checkpoint)

    def test_labelled_data_require_the_loading_step(self, checkpoint, config):
        del config.test_dataloader.dataset.pipeline[1]
        with pytest.raises(UserError, match=r"add dict.type='LoadRasterAnnotations'. after"):
            apis.test(config, checkpoint)

    def test_training_requires_labels(self, images_only):
        with pytest.raises(UserError, match=r'the training data have no labels .* require labels'):
            build_runner(images_only)


class TestClassWeights:
    def test_counts_of_parts_are_summed(self, config, tmp_path):
        other = make_data_root(tmp_path / 'other', count=3, size=40)
        part = config.train_dataloader.dataset
        parts = [part, {**part, 'data_root': str(other)}]
        config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
        paths = [f'{part.data_root}/labels/t_{i}_0.png' for i in range(4)]
        paths.append(other / 'labels/t_0_0.png')
        labels = np.concatenate([read_raster(path).ravel() for path in paths])
        expected = class_weights(np.bincount(labels, minlength=256)[:5])
        assert weight_classes(config) == expected
        assert config.model.decode_head.loss_decode.class_weight == expected

    def test_merged_classes_are_counted(self, config):
        """The shares in dataset.json are those of the classes before."""
        part = config.train_dataloader.dataset
        description = DatasetDescription.load(part.data_root)
        shares = tuple(np.arange(1, 6) / 15)
        replace(description, class_shares=shares).save(part.data_root)
        assert weight_classes(config) == class_weights(shares)
        part.pop('label_convention', None)
        part.label_values = {0: 'a', 1: 'b', 2: 'a', 3: None, 4: 'c', 255: None}
        config.model.decode_head.num_classes = 3
        paths = [f'{part.data_root}/labels/t_{i}_0.png' for i in range(4)]
        labels = np.concatenate([read_raster(path).ravel() for path in paths])
        pixels = np.bincount(labels, minlength=256)
        expected = class_weights([pixels[0] + pixels[2], pixels[1], pixels[4]])
        assert weight_classes(config) == expected

    @pytest.mark.parametrize(('share', 'is_warned'), [(0.001, True), (0.02, False)])
    def test_weights_that_may_ruin_other_classes_cause_a_warning(
        self, config, share, is_warned, capsys
    ):
        root = config.train_dataloader.dataset.data_root
        rest = (1 - share) / 4
        replace(DatasetDescription.load(root), class_shares=(rest,) * 4 + (share,)).save(root)
        weights = weight_classes(config)
        assert weights[4] == pytest.approx(rest / share, rel=1e-3)
        message = f'pixels of {CLASSES[4]} ({weights[4]:g}) weigh more than 20 times'
        assert (message in capsys.readouterr().err) == is_warned

    def test_only_losses_that_support_them_get_them(self, config):
        losses = [dict(type='LabelledDiceLoss'), dict(type='LabelledCrossEntropyLoss')]
        config.model.decode_head.loss_decode = losses
        weights = weight_classes(config)
        first, second = config.model.decode_head.loss_decode
        assert 'class_weight' not in first
        assert second.class_weight == weights
        build_runner(config)

    def test_configs_without_such_a_loss_are_refused(self, config):
        config.model.decode_head.loss_decode = dict(type='LabelledDiceLoss')
        with pytest.raises(UserError, match='class weights are not supported by LabelledDiceLoss'):
            weight_classes(config)
        config.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True)
        with pytest.raises(UserError, match="mmseg's CrossEntropyLoss fails on unlabelled pixels"):
            weight_classes(config)


def test_testing_uses_the_deployed_form_and_validation_does_not(
    config, data_root, tmp_path, monkeypatch
):
    deployed = []
    monkeypatch.setattr('dnas_mmseg.engine.running.switch_to_deploy', deployed.append)
    train(config)
    assert not deployed
    checkpoint = str(tmp_path / 'run/epoch_1.pth')
    plain = apis.test(short(data_root, tmp_path / 'plain'), checkpoint)
    assert len(deployed) == 1
    monkeypatch.undo()
    assert apis.test(short(data_root, tmp_path / 'deployed'), checkpoint) == plain


def test_the_tested_weights_are_those_of_the_checkpoint(config, data_root, tmp_path):
    """Not those that the training of the config starts from."""
    train(config)
    checkpoint = tmp_path / 'run/epoch_1.pth'
    expected = apis.test(short(data_root, tmp_path / 'plain'), str(checkpoint))
    content = torch.load(checkpoint, weights_only=True)
    for value in content['state_dict'].values():
        value.zero_()
    torch.save(content, tmp_path / 'zeros.pth')
    other = short(data_root, tmp_path / 'other')
    other.load_from, other.resume = str(tmp_path / 'zeros.pth'), True
    assert apis.test(other, str(checkpoint)) == expected
    assert other.load_from == str(tmp_path / 'zeros.pth')


def test_flips_are_averaged(config, data_root, tmp_path):
    """The overall accuracy equals that of explicitly flipped tiles."""
    runner = train(config)
    model = runner.bare_model.eval()
    sums, labels = {}, {}
    for direction in (None, 'horizontal', 'vertical'):
        tiles = short(data_root, tmp_path / 'run').test_dataloader.dataset
        if direction is not None:
            tiles.pipeline.insert(-1, dict(type='RandomFlip', prob=1.0, direction=direction))
        for i, tile in enumerate(DATASETS.build(tiles)):
            with torch.no_grad():
                (found,) = model.test_step(pseudo_collate([tile]))
            sums[i] = sums.get(i, 0) + found.seg_logits.data.softmax(0)
            labels.setdefault(i, tile['data_samples'].gt_sem_seg.data[0])
    known = torch.cat([labels[i][labels[i] != 255] for i in labels])
    found = torch.cat([sums[i].argmax(0)[labels[i] != 255] for i in labels])
    checkpoint = str(tmp_path / 'run/epoch_1.pth')
    scores = apis.test(short(data_root, tmp_path / 'flips'), checkpoint, flips=True)
    assert scores['OA'] == pytest.approx(100 * (found == known).float().mean().item(), abs=0.05)
    assert scores != apis.test(short(data_root, tmp_path / 'plain'), checkpoint)


def test_two_runs_in_a_work_dir_exclude_each_other(config, tmp_path, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.files._LOCK_TIMEOUT', 0)
    with (
        lock_folder(tmp_path / 'run'),
        pytest.raises(UserError, match=f'in use by another run .process {os.getpid()}'),
    ):
        train(config)
    with lock_folder(tmp_path / 'run'):
        pass


def test_training_sets_smaller_than_a_batch_are_refused(config):
    config.train_dataloader.batch_size = 5
    with pytest.raises(UserError, match=r'4 training tiles .* do not fill a batch of 5'):
        train(config)


@pytest.mark.parametrize(('interval', 'expected'), [(10, 3), (2, 2)])
def test_training_stops_after_some_validations_without_a_higher_score(config, interval, expected):
    config.train_cfg.update(max_epochs=60, val_interval=interval)
    config.custom_hooks = []
    stop_early(config, 5)
    assert config.train_cfg.val_interval == expected  # at least 20 validations
    hook = HOOKS.build(config.custom_hooks[-1])
    runner = SimpleNamespace(train_loop=SimpleNamespace(stop_training=False), logger=Logger())
    hook.before_run(runner)
    for score in (50.0, 60.0, 60.05, 60.0, 60.0):
        hook.after_val_epoch(runner, {'mIoU': score})
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    hook, runner._resume = HOOKS.build(config.custom_hooks[-1]), True  # of a resumed run
    hook.after_load_checkpoint(runner, checkpoint)
    for score in (60.0, 60.0):
        hook.after_val_epoch(runner, {'mIoU': score})
        assert not runner.train_loop.stop_training
    hook.after_val_epoch(runner, {'mIoU': 60.05})
    assert runner.train_loop.stop_training


def test_early_stopping_of_a_run_by_iterations(config):
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4000)
    stop_early(config, 5)
    assert config.train_cfg.val_interval == 200
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=100_000)
    stop_early(config, 5)
    assert config.train_cfg.val_interval == 1000  # mmengine's default
    config.train_cfg = dict(type='CustomLoop')
    with pytest.raises(UserError, match=r'requires train_cfg\.max_epochs or max_iters'):
        stop_early(config, 5)


class Logger:
    def info(self, message):
        pass


def test_only_a_pretrained_encoder_can_be_frozen(config, data_root, tmp_path):
    """Another type of init_cfg is random, and weights of another network are not loaded."""
    own, other = tmp_path / 'own.pth', tmp_path / 'other.pth'
    model = MODELS.build(config.model)
    torch.save({'state_dict': model.state_dict()}, own)
    wider = copy.deepcopy(config.model)
    wider.backbone.base_channels = 4
    torch.save({'state_dict': MODELS.build(wider).state_dict()}, other)
    for changes, message in (
        ({}, 'has no pretrained weights'),
        ({'model.backbone.init_cfg': dict(type='Kaiming', layer='Conv2d')}, 'has no pretrained'),
        (
            {'load_from': str(other)},
            r'tensors of the backbone are missing in load_from=\S+other.pth',
        ),
    ):
        with pytest.raises(UserError, match=message):
            freeze_encoder(short(data_root, tmp_path / 'run', **changes))
    pretrained = dict(type='MultiBandPretrained', checkpoint='x.pth', bands=('red',))
    for changes in (
        {'load_from': str(own)},
        {'model.backbone.init_cfg': pretrained},
        {'model.init_cfg': [dict(type='Pretrained', checkpoint='x.pth')], 'load_from': str(other)},
    ):
        frozen = short(data_root, tmp_path / 'run', **changes)
        freeze_encoder(frozen)
        assert frozen.model.freeze_backbone

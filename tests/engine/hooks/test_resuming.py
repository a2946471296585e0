"""Resumed training runs are equal to uninterrupted ones."""

import itertools
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dnas_mmseg.engine.loaders import stop_loaders

from ...conftest import ROOT, make_data_root


class Stop(Exception):
    pass


class Interrupt(Hook):
    """Interrupts training in the middle of an epoch or before validation."""

    priority = 'LOWEST'

    def __init__(self, where, epoch=None, iteration=None):
        self.where, self.epoch, self.iteration = where, epoch, iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (self.where, self.epoch) == ('step', runner.epoch) and batch_idx == 1:
            raise Stop
        if (self.where, self.iteration) == ('step', runner.iter + 1):
            raise Stop

    def before_val_epoch(self, runner):
        if self.where == 'validation' and runner.epoch == self.epoch:
            raise Stop
        if self.where == 'validation' and runner.iter == self.iteration:
            raise Stop


@pytest.fixture
def training(tmp_path):
    """A short training run with crops, flips, dropout and loader workers, without a fixed seed."""
    data_root = make_data_root(tmp_path / 'data', count=8)

    def build(name, **changes):
        config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
        config.merge_from_dict(
            dict(
                work_dir=str(tmp_path / name),
                experiment_name=f'{tmp_path.name}-{name}-{changes}',
                model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
                train_cfg=dict(max_epochs=3),
                param_scheduler=dict(T_max=3),
                log_level='ERROR',
                **changes,
            )
        )
        for split in ('train', 'val', 'test'):
            config[f'{split}_dataloader'].dataset.data_root = str(data_root)
        # Validation uses no random numbers; workers would only cost time.
        config.val_dataloader.num_workers = 0
        config.train_dataloader.dataset.pipeline[2].crop_size = (32, 32)
        config.visualizer.name = config.experiment_name
        return config

    return build


@pytest.mark.parametrize('where', ['step', 'validation'])
def test_a_resumed_run_equals_an_uninterrupted_one(training, tmp_path, where):
    whole = Runner.from_cfg(training('whole', randomness=dict(seed=7)))
    whole.train()
    cut = Runner.from_cfg(training('cut', randomness=dict(seed=7)))
    cut.register_hook(Interrupt(where, epoch=2 if where == 'step' else 3))
    with pytest.raises(Stop):
        cut.train()
    # The seed is that of the checkpoint, not a new random one.
    resumed = Runner.from_cfg(training('cut', resume=True))
    resumed.train()
    for a, b in zip(
        whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    names = [sorted(p.name for p in (tmp_path / run).glob('*.pth')) for run in ('whole', 'cut')]
    assert names[0] == names[1]
    scores = [last_scores(tmp_path / run) for run in ('whole', 'cut')]
    assert scores[0] == scores[1]


@pytest.fixture
def by_iterations(training):
    """The same training run with an iteration-based loop and an infinite sampler, as in mmseg."""

    def build(name, sampler='InfiniteSampler', workers=0, **changes):
        config = training(name, **changes)
        config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
        config.param_scheduler = dict(type='PolyLR', power=0.9, end=8, by_epoch=False)
        config.log_processor = dict(by_epoch=False)
        config.default_hooks.checkpoint.update(by_epoch=False, interval=2, max_keep_ckpts=1)
        config.default_hooks.logger.log_metric_by_epoch = False
        config.model.decode_head = dict(
            type='FCNHead', channels=8, num_classes=5, num_convs=1, dropout_ratio=0.5,
            loss_decode=dict(type='LabelledCrossEntropyLoss'),
        )  # fmt: skip
        loader = config.train_dataloader
        loader.sampler = dict(type=sampler, shuffle=True)
        loader.num_workers, loader.persistent_workers = workers, workers > 0
        loader.pop('worker_init_fn')  # mmseg's configs have none
        return config

    return build


@pytest.mark.parametrize(
    ('workers', 'sampler', 'where', 'iteration'),
    [
        (2, 'InfiniteSampler', 'step', 5),
        (0, 'InfiniteSampler', 'validation', 8),
        (0, 'DefaultSampler', 'step', 7),
    ],
)
def test_a_resumed_iteration_based_run_equals_an_uninterrupted_one(
    by_iterations, tmp_path, workers, sampler, where, iteration
):
    seeded = dict(randomness=dict(seed=7))
    whole = Runner.from_cfg(by_iterations('whole', sampler, 0, **seeded))
    whole.train()
    cut = Runner.from_cfg(by_iterations('cut', sampler, workers, **seeded))
    cut.register_hook(Interrupt(where, iteration=iteration))
    with pytest.raises(Stop):
        cut.train()
    resumed = Runner.from_cfg(by_iterations('cut', sampler, workers, resume=True))
    resumed.train()
    for runner in (cut, resumed):  # else garbage collection waits for their processes
        stop_loaders(runner)
    assert resumed.iter == 8
    for a, b in zip(
        whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    scores = [last_scores(tmp_path / run) for run in ('whole', 'cut')]
    assert scores[0] == scores[1]


def test_iterations_use_different_samples_in_the_stock_order(by_iterations):
    config = by_iterations('run', randomness=dict(seed=0))
    seen, draws = [], []

    class See(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.extend(
                (s.metainfo['img_path'], i.sum().item())
                for s, i in zip(data_batch['data_samples'], data_batch['inputs'], strict=True)
            )
            draws.append(torch.rand(()).item())

    runner = Runner.from_cfg(config)
    runner.register_hook(See())
    runner.train()
    dataset = runner.train_dataloader.dataset
    order = itertools.islice(InfiniteSampler(dataset, seed=0), len(seen))
    assert [path for path, _ in seen] == [dataset[i]['data_samples'].img_path for i in order]
    assert len(set(seen)) >= len(seen) - 1  # crops and flips differ from pass to pass
    assert len(set(draws)) == len(draws)


def last_scores(work_dir):
    """The log of the last validation without times."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda p: p.parent.parent.name)
    rows = [json.loads(line) for line in newest.read_text().splitlines()]
    last = [row for row in rows if 'mIoU' in row][-1]
    return {key: value for key, value in last.items() if 'time' not in key}


def test_augmentations_differ_between_epochs(training, tmp_path):
    seen = []

    class See(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(
                {
                    s.metainfo['img_path']: (i.sum().item(), s.metainfo.get('flip'))
                    for s, i in zip(data_batch['data_samples'], data_batch['inputs'], strict=True)
                }
            )

    runner = Runner.from_cfg(training('run', randomness=dict(seed=0)))
    runner.register_hook(See())
    runner.train()
    first, second = ({k: v for batch in seen[i : i + 3] for k, v in batch.items()} for i in (0, 3))
    assert first.keys() == second.keys()
    assert sum(first[k] != second[k] for k in first) >= len(first) - 1

"""Training goes on from an epoch's checkpoint as if nothing had happened."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dnas_mmseg.apis import train
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import exclusive

from ..conftest import ROOT, make_data_root


class Stop(Exception):
    pass


class Interrupt(Hook):
    """Ends the process's training the hard way, in the middle of an epoch or before validation."""

    priority = 'LOWEST'

    def __init__(self, where, epoch):
        self.where, self.epoch = where, epoch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (self.where, self.epoch) == ('step', runner.epoch) and batch_idx == 1:
            raise Stop

    def before_val_epoch(self, runner):
        if (self.where, self.epoch) == ('validation', runner.epoch):
            raise Stop


@pytest.fixture
def training(tmp_path):
    """A short training with crops, flips, dropout and loading workers; no fixed seed."""
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
        config.train_dataloader.dataset.pipeline[2].crop_size = (32, 32)
        config.visualizer.name = config.experiment_name
        return config

    return build


@pytest.mark.parametrize('where', ['step', 'validation'])
def test_an_interrupted_training_ends_the_same(training, tmp_path, where):
    whole = Runner.from_cfg(training('whole', randomness=dict(seed=7)))
    whole.train()
    cut = Runner.from_cfg(training('cut', randomness=dict(seed=7)))
    cut.register_hook(Interrupt(where, epoch=2 if where == 'step' else 3))
    with pytest.raises(Stop):
        cut.train()
    # The seed is the checkpoint's, not the one that a resumed run without any would draw.
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


def last_scores(work_dir):
    """What the last validation wrote, times left out."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda p: p.parent.parent.name)
    rows = [json.loads(line) for line in newest.read_text().splitlines()]
    last = [row for row in rows if 'mIoU' in row][-1]
    return {key: value for key, value in last.items() if 'time' not in key}


def test_epochs_differ_in_their_augmentations(training, tmp_path):
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


def test_two_runs_in_a_work_dir_exclude_each_other(training, tmp_path, monkeypatch):
    def locked(*_):
        raise BlockingIOError

    with exclusive(tmp_path / 'run'):
        pass
    monkeypatch.setattr('fcntl.lockf', locked)
    with pytest.raises(UserError, match='in use by another run'):
        train(training('run'))


def test_a_set_smaller_than_a_batch_is_refused(training):
    config = training('run')
    config.train_dataloader.batch_size = 7
    with pytest.raises(UserError, match=r'6 tiles to train on .* do not fill a batch of 7'):
        train(config)

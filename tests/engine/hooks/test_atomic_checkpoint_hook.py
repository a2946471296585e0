import errno
import json
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, save_checkpoint

from dnas_mmseg import files
from dnas_mmseg.engine.checkpoints import (
    CheckpointError,
    find_checkpoint,
    find_usable_checkpoint,
    last_checkpoint,
    load_weights,
)
from dnas_mmseg.errors import UserError

from ...conftest import ROOT


def config(data_root, work_dir, epochs=3, **checkpoint):
    cfg = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
    cfg.merge_from_dict(
        dict(
            work_dir=str(work_dir),
            model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
            train_cfg=dict(max_epochs=epochs),
            default_hooks=dict(checkpoint=checkpoint),
            randomness=dict(seed=0),
            log_level='ERROR',
            experiment_name=f'{work_dir.name}-{epochs}-{len(list(work_dir.parent.iterdir()))}',
        )
    )
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset.data_root = str(data_root)
        loader.num_workers = 0
    cfg.param_scheduler = None  # with a schedule, max_epochs cannot change on resuming
    return cfg


def checkpoints(work_dir):
    return sorted(path.name for path in work_dir.glob('*.pth'))


def test_the_last_two_and_the_best_checkpoint_remain(data_root, tmp_path):
    work_dir = tmp_path / 'run'
    runner = Runner.from_cfg(config(data_root, work_dir))
    runner.train()
    names = checkpoints(work_dir)
    assert [n for n in names if n.startswith('epoch')] == ['epoch_2.pth', 'epoch_3.pth']
    (best,) = [n for n in names if n.startswith('best_mIoU')]
    assert (work_dir / 'last_checkpoint').read_text() == 'epoch_3.pth'
    scores = json.loads((work_dir / 'validation.json').read_text())
    last = torch.load(work_dir / 'epoch_3.pth', weights_only=True)
    assert scores['checkpoint'] == best
    assert (
        scores['best']
        == torch.load(work_dir / best, weights_only=True)['message_hub']['runtime_info'][
            'best_score'
        ]
    )
    assert scores['last'] <= scores['best']
    assert last['message_hub']['runtime_info']['best_ckpt'] == str(work_dir / best)
    assert not [p for p in work_dir.rglob('*') if p.name.startswith('.')]


@pytest.mark.parametrize(('seconds', 'expected'), [(1e4, [3]), (0.0, [1, 2, 3])])
def test_checkpoints_are_spaced_in_time_and_the_last_epoch_is_saved(
    data_root, tmp_path, seconds, expected
):
    options = dict(min_seconds=seconds, max_keep_ckpts=-1, save_best=None)
    Runner.from_cfg(config(data_root, tmp_path / 'run', **options)).train()
    assert checkpoints(tmp_path / 'run') == [f'epoch_{epoch}.pth' for epoch in expected]


class StopHook(Hook):
    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = runner.epoch + 1 == 2


@pytest.mark.parametrize('options', [dict(min_seconds=1e4), dict(interval=3)])
def test_a_training_that_stops_early_is_saved(data_root, tmp_path, options):
    runner = Runner.from_cfg(
        config(data_root, tmp_path / 'run', epochs=4, save_best=None, **options)
    )
    runner.register_hook(StopHook())
    runner.train()
    assert checkpoints(tmp_path / 'run') == ['epoch_2.pth']
    cfg = config(data_root, tmp_path / 'run', epochs=4, **options)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (runner.epoch, runner.iter) == (4, 4 * len(runner.train_dataloader))


def test_resuming_uses_the_last_checkpoint(data_root, tmp_path):
    work_dir = tmp_path / 'run'
    Runner.from_cfg(config(data_root, work_dir, epochs=2)).train()
    cfg = config(data_root, work_dir, epochs=4)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 4
    assert [n for n in checkpoints(work_dir) if n.startswith('epoch')] == [
        'epoch_3.pth',
        'epoch_4.pth',
    ]
    assert len([n for n in checkpoints(work_dir) if n.startswith('best')]) == 1


def test_a_copied_work_dir_resumes_from_its_own_checkpoints(data_root, tmp_path):
    """The original is not changed; a moved work dir resumes, too."""
    original, copy = tmp_path / 'run', tmp_path / 'copy'
    Runner.from_cfg(config(data_root, original, epochs=2)).train()
    shutil.copytree(original, copy)
    before = {path.name: path.read_bytes() for path in original.glob('*.pth')}
    (copy / 'epoch_1.pth').unlink()
    cfg = config(data_root, copy, epochs=4, rule='less')  # its next validation is "better"
    cfg.default_hooks.checkpoint.save_best = 'mIoU'
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 4
    assert {path.name: path.read_bytes() for path in original.glob('*.pth')} == before
    assert 'epoch_4.pth' in checkpoints(copy)

    moved = tmp_path / 'moved'
    original.rename(moved)
    cfg = config(data_root, moved, epochs=3)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (runner.epoch, len(list(moved.glob('best*.pth')))) == (3, 1)
    assert not original.exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(train_cfg=dict(max_epochs=4)), r'train_cfg\.max_epochs: 2, now 4'),
        (dict(model=dict(backbone=dict(base_channels=4))), r'base_channels: 2, now 4'),
        (
            dict(optim_wrapper=dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3))),
            r'optimizer\.type: SGD, now AdamW',
        ),
        (dict(model=dict(decode_head=dict(num_classes=3))), r'num_classes: 5, now 3'),
    ],
)
def test_resuming_with_another_config_raises_an_error(data_root, tmp_path, change, message):
    """Otherwise the learning rate would be 0, or the tensors would not fit."""
    work_dir = tmp_path / 'run'

    def scheduled(epochs):
        cfg = config(data_root, work_dir, epochs)
        cfg.custom_hooks = [dict(type='EMAHook')]  # this hook loads its own part of the checkpoint
        cfg.param_scheduler = [dict(type='PolyLR', power=0.9, by_epoch=False, begin=0, end=4)]
        return cfg

    Runner.from_cfg(scheduled(2)).train()
    cfg = scheduled(2)
    cfg.merge_from_dict({**change, 'experiment_name': str(tmp_path), 'resume': True})
    with pytest.raises(UserError, match=message) as refused:
        Runner.from_cfg(cfg).train()
    assert len(str(refused.value).splitlines()) == 1
    assert f'load_from={work_dir}/epoch_2.pth' in str(refused.value)


def test_a_constant_rate_after_a_warm_up_can_be_continued(data_root, tmp_path):
    work_dir = tmp_path / 'run'

    def constant(epochs):
        cfg = config(data_root, work_dir, epochs)
        cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False)]
        return cfg

    Runner.from_cfg(constant(1)).train()
    cfg = constant(3)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 3
    assert runner.optim_wrapper.get_lr()['lr'] == [cfg.optim_wrapper.optimizer.lr]


def test_resuming_allows_changes_without_effect(data_root, tmp_path):
    work_dir = tmp_path / 'run'
    Runner.from_cfg(config(data_root, work_dir, epochs=1)).train()
    cfg = config(data_root, work_dir, epochs=2)
    cfg.model.backbone.with_cp = True
    cfg.optim_wrapper.optimizer.fused = False
    cfg.model.backbone.init_cfg = dict(type='Kaiming', layer='Conv2d')
    cfg.train_cfg.val_interval, cfg.resume = 2, True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 2


@pytest.mark.parametrize('damage', ['half', 'byte'])
def test_resuming_skips_a_damaged_checkpoint(data_root, tmp_path, damage, capsys):
    work_dir = tmp_path / 'run'
    Runner.from_cfg(config(data_root, work_dir, epochs=3)).train()
    path = work_dir / 'epoch_3.pth'
    content = bytearray(path.read_bytes())
    if damage == 'half':
        content = content[: len(content) // 2]
    else:
        weights = torch.load(path, weights_only=True)['state_dict']['backbone.stem.0.0.weight']
        content[content.find(weights.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'epoch_3\.pth is (not a checkpoint|damaged)'):
        load_weights(path)
    cfg = config(data_root, work_dir, epochs=4)
    cfg.resume, cfg.log_level = True, 'WARNING'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 4
    assert 'using epoch_2.pth instead' in capsys.readouterr().out
    for name in ('epoch_3.pth', 'epoch_4.pth'):
        (work_dir / name).write_bytes(b'half')
    for best in work_dir.glob('best*'):
        best.unlink()
    cfg = config(data_root, work_dir, epochs=1)
    cfg.resume, cfg.log_level = True, 'WARNING'
    assert Runner.from_cfg(cfg).train() is not None
    assert 'starting from scratch' in capsys.readouterr().out
    load_weights(work_dir / 'epoch_1.pth')


def test_resuming_skips_a_missing_checkpoint(tmp_path):
    save_checkpoint({'state_dict': {}}, str(tmp_path / 'epoch_1.pth'))
    assert find_usable_checkpoint(tmp_path) == (None, [])  # weights alone cannot be resumed
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    path, (problem,) = find_usable_checkpoint(tmp_path)
    assert path == tmp_path / 'epoch_1.pth'
    assert problem.endswith('last_checkpoint: the checkpoint that it refers to is missing')


def test_a_work_dir_resolves_to_its_last_checkpoint(tmp_path):
    (tmp_path / 'epoch_2.pth').touch()
    for text in ('epoch_2.pth', '/elsewhere/run/epoch_2.pth\n'):
        (tmp_path / 'last_checkpoint').write_text(text)
        assert last_checkpoint(tmp_path) == find_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'
    (tmp_path / 'epoch_2.pth').unlink()
    assert last_checkpoint(tmp_path) is None
    with pytest.raises(CheckpointError, match='contains no checkpoint'):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize('failing', ['epoch', 'best'])
def test_a_full_disk_does_not_remove_previous_checkpoints(
    data_root, tmp_path, monkeypatch, failing
):
    work_dir = tmp_path / 'run'
    runner = Runner.from_cfg(config(data_root, work_dir, epochs=1, max_keep_ckpts=1))
    runner.train()
    before = checkpoints(work_dir)
    kept = {name: load_weights(work_dir / name) for name in before}
    assert len(before) == 2

    sync = files.sync_file

    def full(path):
        if path.name.startswith(f'.{failing}'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        sync(path)

    monkeypatch.setattr(files, 'sync_file', full)
    cfg = config(data_root, work_dir, epochs=2, max_keep_ckpts=1, rule='less')
    cfg.default_hooks.checkpoint.save_best = 'IoU.water'
    cfg.resume = True
    with pytest.raises(OSError, match='No space left'):
        Runner.from_cfg(cfg).train()
    (name,) = [name for name in before if name.startswith(failing)]
    again = load_weights(work_dir / name)
    assert all(torch.equal(again[key], value) for key, value in kept[name].items())
    assert (work_dir / 'last_checkpoint').read_text().endswith('.pth')
    assert not [p for p in work_dir.iterdir() if p.name.startswith('.')]

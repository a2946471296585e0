import json
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner

from dnas_mmseg.errors import UserError
from dnas_mmseg.search import hook as module
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, make_data_root

SEEN: dict = {}


@HOOKS.register_module()
class Watch(Hook):
    """Records the state before the architecture step."""

    priority = 'HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        SEEN.setdefault('before', []).append(snapshot(runner))


@HOOKS.register_module()
class WatchAfter(Watch):
    """Records the state after the architecture step."""

    priority = 'NORMAL'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        SEEN.setdefault('after', []).append(snapshot(runner))


def snapshot(runner):
    model = runner.model
    return {
        'state': {k: v.clone() for k, v in model.state_dict().items()},
        'gradients': {
            k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()
        },
        'thawed': [k for k, p in model.named_parameters() if p.requires_grad],
    }


@pytest.fixture
def search_config(tmp_path):
    """Config of a tiny connection search; keyword arguments are merged into it."""
    SEEN.clear()
    data_root = make_data_root(tmp_path / 'data', count=14)

    def build(**changes):
        config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_connection-search_gid5.py'))
        config.merge_from_dict(
            dict(
                work_dir=str(tmp_path / 'run'),
                experiment_name=f'{tmp_path.name}-{len(list(tmp_path.rglob("*")))}',
                model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
                train_dataloader=dict(num_workers=0, dataset=dict(data_root=str(data_root))),
                train_cfg=dict(max_epochs=3),
                param_scheduler=dict(T_max=3),
                randomness=dict(seed=0),
                log_level='ERROR',
            )
        )
        config.model.backbone.architecture = dict(
            format=1, space='dnas', level='path', name='l4', layers=4, path=[0, 1, 1, 0]
        )
        hook = changes.pop('hook', {})
        config.merge_from_dict(changes)
        config.custom_hooks[0].update(hook)
        config.visualizer.name = config.experiment_name
        return config

    return build


def test_architecture_step_changes_only_architecture_parameters(search_config):
    config = search_config()
    config.custom_hooks += [dict(type='Watch'), dict(type='WatchAfter')]
    Runner.from_cfg(config).train()
    pairs = list(zip(SEEN['before'], SEEN['after'], strict=True))
    assert len(pairs) == 9
    for i, (before, after) in enumerate(pairs):
        changed = {k for k, v in after['state'].items() if not torch.equal(v, before['state'][k])}
        # The first third of the epochs has no architecture steps.
        assert changed == ({'backbone.betas'} if i >= 3 else set())
        for name, gradient in after['gradients'].items():
            assert name != 'backbone.betas' or gradient is None
            if gradient is not None:
                assert torch.equal(gradient, before['gradients'][name])
        assert after['thawed'] == before['thawed']
        assert 'backbone.betas' not in after['thawed']
    # Weight steps change no architecture parameters, not even by weight decay.
    for earlier, later in zip(SEEN['after'], SEEN['before'][1:], strict=False):
        assert torch.equal(earlier['state']['backbone.betas'], later['state']['backbone.betas'])
        weight = 'decode_head.conv_seg.weight'
        assert not torch.equal(earlier['state'][weight], later['state'][weight])


def test_architecture_step_is_an_adam_step(search_config):
    calls = []

    class Recording(torch.optim.Adam):
        def step(self, *args, **kwargs):
            ((p,),) = [group['params'] for group in self.param_groups]
            calls.append((p.detach().clone(), p.grad.clone()))
            super().step(*args, **kwargs)
            calls[-1] += (p.detach().clone(),)

    module.OPTIMIZERS.register_module(name='Recording', module=Recording, force=True)
    optimizer = dict(type='Recording', lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3)
    Runner.from_cfg(search_config(hook=dict(optimizer=optimizer))).train()
    assert len(calls) == 6
    before, gradient, after = calls[0]
    # The size of Adam's first step is the learning rate.
    decayed = gradient + 1e-3 * before
    nonzero = decayed.abs() > 1e-6
    expected = (before - 3e-3 * decayed.sign())[nonzero]
    assert len(expected) > len(before) / 2
    torch.testing.assert_close(after[nonzero], expected, rtol=0, atol=1e-4)


def test_files_written(search_config, tmp_path):
    Runner.from_cfg(search_config()).train()
    run = tmp_path / 'run'
    history = SearchHistory.load(run)
    assert [(e.epoch, e.searching) for e in history.epochs] == [(1, False), (2, True), (3, True)]
    assert [e.loss is None for e in history.epochs] == [True, False, False]
    for epoch in history.epochs:
        written = load_architecture(run / f'architectures/epoch_{epoch.epoch}.json')
        assert written == epoch.architecture
    assert load_architecture(run / 'architecture.json') == history.epochs[-1].architecture
    (log,) = run.glob('*/vis_data/scalars.json')
    scalars = [json.loads(line) for line in log.read_text().splitlines()]
    names = {key for row in scalars for key in row}
    assert {'arch_loss', 'search/entropy_gate', 'search/edges_kept', 'search/path_00'} <= names
    halves = [(run / f'half_{h}.txt').read_text().splitlines() for h in 'ab']
    training_list = (tmp_path / 'data/train.txt').read_text().splitlines()
    assert sorted(halves[0] + halves[1]) == sorted(training_list)
    assert len(halves[1]) == 6


def test_scalars_in_tensorboard(search_config, tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = search_config()
    config.visualizer.vis_backends = [dict(type='TensorboardVisBackend')]
    Runner.from_cfg(config).train()
    (folder,) = (tmp_path / 'run').glob('*/vis_data')
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {'arch_loss', 'search/entropy_gate'} <= set(events.Tags()['scalars'])


def test_early_stopping(search_config):
    config = search_config(hook=dict(patience=2, arch_start=0, optimizer=dict(type='Adam', lr=0.0)))
    config.train_cfg.max_epochs = config.param_scheduler.T_max = 9
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.epoch == 3


def test_loss_scaling_skips_overflows(search_config):
    """Simulates float16 loss scaling, which requires a GPU, without autocast."""

    class Scaler:
        scales = iter([float('inf')] + [1024.0] * 99)

        def get_scale(self):
            return next(self.scales)

    @OPTIM_WRAPPERS.register_module(force=True)
    class Scaling(OptimWrapper):
        loss_scaler = Scaler()

    runs = {}
    for kind in ('OptimWrapper', 'Scaling'):
        config = search_config(optim_wrapper=dict(type=kind), hook=dict(arch_start=2))
        config.custom_hooks.append(dict(type='WatchAfter'))
        SEEN.clear()
        Runner.from_cfg(config).train()
        runs[kind] = [step['state']['backbone.betas'] for step in SEEN['after']]
    plain, scaled = runs['OptimWrapper'], runs['Scaling']
    assert torch.equal(scaled[6], scaled[5])  # overflowed: no step
    assert not torch.equal(plain[6], plain[5])
    # The size of Adam's first step is the learning rate.
    torch.testing.assert_close(
        (scaled[7] - scaled[6]).abs(), torch.full_like(scaled[7], 3e-3), rtol=0.2, atol=1e-4
    )


def test_bfloat16_autocast(search_config):
    @OPTIM_WRAPPERS.register_module(force=True)
    class Autocast(OptimWrapper):
        def optim_context(self, model):
            return torch.autocast('cpu', torch.bfloat16)

    runner = Runner.from_cfg(search_config(optim_wrapper=dict(type='Autocast')))
    runner.train()
    assert math.isfinite(SearchHistory.load(runner.work_dir).epochs[-1].loss)


def test_load_from_starts_a_new_search(search_config, tmp_path):
    Runner.from_cfg(search_config()).train()
    checkpoint = torch.load(tmp_path / 'run/epoch_3.pth', weights_only=True)
    runner = Runner.from_cfg(search_config(load_from=str(tmp_path / 'run/epoch_3.pth')))
    hook = next(h for h in runner.hooks if isinstance(h, module.ArchitectureSearchHook))
    runner.train()
    assert [e.epoch for e in hook.history.epochs] == [1, 2, 3]
    (state,) = hook.optimizer.state_dict()['state'].values()
    assert state['step'] == 6  # steps of this run only
    assert checkpoint['architecture_search']['halves'] == hook.halves


def test_resuming_requires_the_same_halves(search_config):
    constant_rate = dict(param_scheduler=None)  # a schedule would forbid a longer training
    Runner.from_cfg(search_config(**constant_rate)).train()
    config = search_config(resume=True, train_cfg=dict(max_epochs=4), **constant_rate)
    config.train_dataloader.sampler.split_seed = 5
    with pytest.raises(UserError, match='half_a differs from that of the checkpoint'):
        Runner.from_cfg(config).train()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(hook=dict(arch_start=3)), 'epoch 3 .counted from 0. is not among the 3 epochs'),
        (
            dict(train_dataloader=dict(sampler=dict(type='DefaultSampler'))),
            'half B is missing: set sampler',
        ),
        (dict(hook=dict(half_b=dict(ann_file='val.txt'))), 'conflicts with the HalfSampler'),
        (
            dict(
                train_dataloader=dict(batch_size=3, sampler=dict(type='DefaultSampler')),
                hook=dict(half_b=dict(ann_file='val.txt')),
            ),
            'half B has 2 tiles, fewer than a batch over all processes .3.',
        ),
        (
            dict(
                train_dataloader=dict(sampler=dict(type='DefaultSampler')),
                hook=dict(half_b=dict(ann_file='train.txt')),
            ),
            '12 tiles are in both halves .first images',
        ),
        (dict(hook=dict(patience=0)), 'patience = 0: expected at least 1'),
    ],
)
def test_invalid_searches(search_config, changes, message):
    config = search_config(**changes)
    if config.train_dataloader.sampler.type == 'DefaultSampler':
        config.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    with pytest.raises(UserError, match=message):
        Runner.from_cfg(config).train()


def test_requires_a_supernet(search_config):
    config = search_config()
    config.model.backbone = dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=2)
    with pytest.raises(UserError, match='requires a supernet as backbone, not a DNAS'):
        Runner.from_cfg(config).train()


def test_error_for_a_nan_loss(search_config, tmp_path):
    config = search_config()
    runner = Runner.from_cfg(config)

    class Poison(Hook):
        priority = 'VERY_HIGH'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.epoch == 2:
                runner.model.decode_head.conv_seg.weight.data.fill_(float('nan'))

    runner.register_hook(Poison())
    with pytest.raises(
        UserError, match=r'the loss is nan in epoch 3, .*t_\d+_0\.tif.*epoch_2\.pth'
    ):
        runner.train()
    last = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=True)
    assert all(v.isfinite().all() for v in last['state_dict'].values())


def test_alarms_are_logged(search_config, monkeypatch):
    monkeypatch.setattr(SearchHistory, 'alarms', lambda self: ['it collapses'])
    runner = Runner.from_cfg(search_config())
    warnings = []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    runner.train()
    assert warnings == [f'search, epoch {i}: it collapses' for i in (1, 2, 3)]


@pytest.mark.parametrize('value', ['inf', 'nan'])
def test_checkpoints_contain_no_nonfinite_weights(search_config, tmp_path, value):
    """The last weight step of an epoch is followed by the checkpoint, not by a loss."""
    runner = Runner.from_cfg(search_config())

    class Poison(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.epoch == 1 and batch_idx == 2:
                runner.model.decode_head.conv_seg.weight.data[0, 0] = float(value)

    runner.register_hook(Poison())
    with pytest.raises(UserError, match=rf'decode_head.conv_seg.weight is {value} .*epoch_1\.pth'):
        runner.train()
    assert (tmp_path / 'run/last_checkpoint').read_text().endswith('epoch_1.pth')


@pytest.mark.parametrize('value', ['inf', 'nan'])
def test_nonfinite_gradient_changes_no_parameter(search_config, monkeypatch, value):
    grad = torch.autograd.grad

    def poisoned(*args, **kwargs):
        return tuple(torch.full_like(g, float(value)) for g in grad(*args, **kwargs))

    runner = Runner.from_cfg(search_config())
    before = runner.model.backbone.betas.detach().clone()
    monkeypatch.setattr(module.torch.autograd, 'grad', poisoned)
    with pytest.raises(UserError, match=f'gradient of the architecture is {value} in epoch 2'):
        runner.train()
    assert torch.equal(runner.model.backbone.betas, before)


def test_requires_an_epoch_based_loop(search_config):
    config = search_config()
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10)
    with pytest.raises(UserError, match='a search requires train_cfg'):
        Runner.from_cfg(config).train()


def test_resuming_with_more_epochs_does_not_move_arch_start(search_config):
    constant_rate = dict(param_scheduler=None)
    Runner.from_cfg(search_config(**constant_rate)).train()
    config = search_config(resume=True, train_cfg=dict(max_epochs=12), **constant_rate)
    runner = Runner.from_cfg(config)
    runner.train()
    history = SearchHistory.load(runner.work_dir)
    assert [e.searching for e in history.epochs] == [False] + [True] * 11


def test_resuming_requires_the_same_path(search_config):
    Runner.from_cfg(search_config()).train()
    config = search_config(resume=True)
    config.model.backbone.architecture.path = [0, 1, 1, 1]
    with pytest.raises(UserError, match=r'model\.backbone\.architecture\.path'):
        Runner.from_cfg(config).train()

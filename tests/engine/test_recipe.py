"""The training recipe (`configs/_base_/schedules/adamw_ema.py`)."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, OPTIM_WRAPPERS
from mmengine.runner import Runner

from dnas_mmseg.mapping.segmentor import load_segmentor

from ..conftest import ROOT, make_data_root

BASE = """_base_ = [
    '{root}/configs/_base_/models/fcn_unet_s5.py',
    '{root}/configs/_base_/datasets/gid5.py',
    '{root}/configs/_base_/schedules/adamw_ema.py',
    '{root}/configs/_base_/default_runtime.py',
]
model = dict(
    backbone=dict(base_channels=4),
    decode_head=dict(in_channels=4, channels=4, loss_decode={{{{_base_.losses}}}}),
)
train_cfg = dict(max_epochs=4, val_interval=1)
"""


@pytest.fixture
def training(tmp_path):
    data_root = make_data_root(tmp_path / 'data', count=8)
    (tmp_path / 'c.py').write_text(BASE.format(root=ROOT))

    def build(name, **changes):
        config = Config.fromfile(str(tmp_path / 'c.py'))
        name_ = f'{tmp_path.name}-{name}-{changes}'
        config.merge_from_dict(
            dict(
                work_dir=str(tmp_path / name),
                experiment_name=name_,
                log_level='ERROR',
                randomness=dict(seed=7),
                **changes,
            )
        )
        config.param_scheduler[0].end = 5  # the warm-up ends before the interruption
        for split in ('train', 'val', 'test'):
            config[f'{split}_dataloader'].dataset.data_root = str(data_root)
            config[f'{split}_dataloader'].num_workers = 0  # hooks/test_resuming.py has them
        config.train_dataloader.dataset.pipeline[2].crop_size = (32, 32)
        config.visualizer.name = name_
        return config

    return build


class Interrupt(Hook):
    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 7:
            raise KeyboardInterrupt


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_weights_averages_and_schedules_resume_exactly(training, tmp_path):
    Runner.from_cfg(training('whole')).train()
    cut = Runner.from_cfg(training('cut'))
    cut.register_hook(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    Runner.from_cfg(training('cut', resume=True)).train()
    a, b = (
        torch.load(tmp_path / f'{run}/epoch_4.pth', weights_only=True) for run in ('whole', 'cut')
    )
    for key in ('state_dict', 'ema_state_dict'):
        assert equal(a[key], b[key]), key
    assert a['param_schedulers'] == b['param_schedulers']
    moments = [c['optimizer']['state'] for c in (a, b)]
    assert all(equal(moments[0][i], moments[1][i]) for i in moments[0])


def test_the_average_is_saved_and_predicts(training, tmp_path):
    config = training('run')
    runner = Runner.from_cfg(config)
    runner.train()
    saved = torch.load(tmp_path / 'run/epoch_4.pth', weights_only=True)
    plain = runner.model.state_dict()
    average = {k: v for k, v in saved['state_dict'].items() if v.is_floating_point()}
    assert not all(torch.equal(average[k], plain[k]) for k in average)
    averages = saved['ema_state_dict']  # mmengine stores the raw weights under this name
    assert all(torch.equal(averages[f'module.{k}'], plain[k]) for k in average)
    model = load_segmentor(config, tmp_path / 'run/epoch_4.pth', 'cpu')
    image = torch.randint(0, 255, (4, 32, 32), dtype=torch.uint8)
    runner.model.load_state_dict(saved['state_dict'])
    runner.model.eval()
    with torch.no_grad():
        inputs = model.data_preprocessor.normalise(image)[None]
        meta = [dict(img_shape=(32, 32), ori_shape=(32, 32), pad_shape=(32, 32))]
        torch.testing.assert_close(
            model.encode_decode(inputs, meta), runner.model.encode_decode(inputs, meta),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip


def test_the_schedule_depends_only_on_the_number_of_epochs(training):
    rates = []

    class See(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            rates.append(runner.optim_wrapper.get_lr()['lr'][0])

    config = training('run', train_cfg=dict(max_epochs=6, val_interval=99))
    runner = Runner.from_cfg(config)
    runner.register_hook(See(), priority='VERY_HIGH')
    runner.train()
    steps = len(runner.train_dataloader) * 6
    assert len(rates) == steps == 18
    assert rates[0] == pytest.approx(0.01 * 2e-3)  # warm-up from a hundredth
    for i in range(5, steps):
        assert rates[i] == pytest.approx(2e-3 * (1 - i / (steps - 1)) ** 0.9, rel=1e-6)


@OPTIM_WRAPPERS.register_module(force=True)
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision on CPUs; mmengine's requires a GPU."""

    def optim_context(self, model):
        return torch.autocast('cpu', torch.bfloat16)


@pytest.mark.parametrize(
    'kind',
    [
        'BFloat16OptimWrapper',
        pytest.param(
            'AmpOptimWrapper',
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
        ),
    ],
)
def test_mixed_precision_reaches_similar_losses(training, tmp_path, kind):
    losses = {}
    for name in ('OptimWrapper', kind):
        seen = losses[name] = []

        class See(Hook):
            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None, to=seen):
                to.append(outputs['loss'].item())

        runner = Runner.from_cfg(training(name, optim_wrapper=dict(type=name)))
        runner.register_hook(See())
        runner.train()
    whole, mixed = losses.values()
    assert whole != mixed
    assert mixed == pytest.approx(whole, rel=0.05)
    saved = torch.load(tmp_path / kind / 'epoch_4.pth', weights_only=True)
    assert {v.dtype for v in saved['state_dict'].values() if v.is_floating_point()} == {
        torch.float32
    }


def test_the_average_forgets_the_initial_state(training):
    # A batch norm begins with variances of 1; those of activations may be a thousandth of that.
    hook = dict(training('run').custom_hooks[0])
    assert hook.pop('type') == 'EMAHook'
    norm = torch.nn.BatchNorm2d(1)
    average = MODELS.build(dict(type=hook.pop('ema_type'), **hook), default_args=dict(model=norm))
    norm.running_var.fill_(1e-3)
    for _ in range(100):
        average.update_parameters(norm)
    assert average.module.running_var.item() == pytest.approx(1e-3, rel=1e-3)

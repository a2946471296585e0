"""Compiled training steps equal eager ones; what cannot be compiled is trained without."""

import copy
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models.losses import accuracy
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.hooks.compile_hook import CompileHook, pixel_accuracy
from dnas_mmseg.engine.running import build_runner, compile_steps
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.losses import LabelledDiceLoss
from dnas_mmseg.search.time import noise_batch
from dnas_mmseg.spaces.dnas.decoding import random_architecture

from ...conftest import ROOT

CONFIGS = [
    'unet/unet_lite0_naip.py',
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in (
            'dnas/dnas_l12_w16_naip.py',
            'densenas/densenas_narrow_naip.py',
            'autodeeplab/autodeeplab_narrow_naip.py',
            'hrnet/fcn_hr18s_naip.py',
            'pspnet/pspnet_r18-d8_naip.py',
            'segformer/segformer_mit-b0_naip.py',
        )
    ),
]
SMALL = dict(
    type='SearchedEncoderDecoder',
    data_preprocessor=dict(type='MultiBandDataPreProcessor', mean=[100.0] * 4, std=[50.0] * 4),
    backbone=dict(
        type='DNAS',
        architecture=random_architecture(5, np.random.default_rng(0), 'small'),
        base_channels=2,
    ),
    decode_head=dict(
        type='DNASHead',
        num_classes=4,
        channels=8,
        loss_decode=[dict(type='LabelledCrossEntropyLoss'), dict(type='LabelledDiceLoss')],
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)


@pytest.fixture(autouse=True)
def no_compiled_code_left():
    yield
    torch._dynamo.reset()


class Run:
    """The part of a runner that the hook uses."""

    def __init__(self, model):
        self.model, self.logger, self.warnings = model, self, []

    def warning(self, message):
        self.warnings.append(message)


def losses(model, steps, hook=None):
    """Return the losses of steps of SGD on fixed noise, the last values, and warnings."""
    torch.manual_seed(0)
    batches = [noise_batch(model.data_preprocessor, 2, 4, (64, 64), 4) for _ in range(3)]
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    precision = next(model.parameters()).dtype
    run = Run(model)
    if hook is not None:
        hook.before_train(run)
    found = []
    for i in range(steps):
        data = model.data_preprocessor(copy.copy(batches[i % 3]), True)
        values = model(data['inputs'].to(precision), data['data_samples'], mode='loss')
        loss, _ = model.parse_losses(values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    if hook is not None:
        hook.after_train(run)
    return found, {name: value.detach() for name, value in values.items()}, run.warnings


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(config).train()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0  # its mask depends on the memory format, which compilers change
    return model


@pytest.mark.parametrize('name', CONFIGS)
def test_forward_pass_and_losses_are_one_graph(name):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    hook = CompileHook(backend=backend, mode=None)
    config = Config.fromfile(str(ROOT / 'configs' / name)).model
    config.backbone.pop('init_cfg', None)
    if 'pretrained' in config.backbone:
        config.backbone.pretrained = False
    model = build(config)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        losses(model, 2, hook)
    assert len(graphs) == 1
    assert 'loss' not in vars(model)


def test_a_hundred_compiled_steps_equal_eager_ones():
    """In double precision: in single precision, training amplifies differences of rounding."""
    eager, values, _ = losses(build(SMALL).double(), 100)
    hook = CompileHook(backend='aot_eager', mode=None)
    compiled, own, messages = losses(build(SMALL).double(), 100, hook)
    assert not messages
    assert eager[-1] < eager[0]
    assert compiled == pytest.approx(eager, abs=1e-6)
    assert own.keys() == values.keys()
    for name, value in values.items():
        torch.testing.assert_close(own[name], value, rtol=1e-5, atol=1e-6)


def test_training_continues_where_compilation_fails():
    def backend(graph, inputs):
        raise RuntimeError('cannot capture\nmore lines')

    eager, *_ = losses(build(SMALL), 3)
    own, _, (message,) = losses(build(SMALL), 3, CompileHook(backend=backend, mode=None))
    assert own == eager
    assert 'continues without it' in message
    assert 'cannot capture' in message
    assert len(message.splitlines()) == 1


def test_what_is_not_a_single_graph_is_not_compiled(monkeypatch):
    """Instead of running between several graphs, without a word."""

    class Counting(LabelledDiceLoss):
        def forward(self, *args, **kwargs):
            loss = super().forward(*args, **kwargs)
            return loss * (2 if loss.item() > 100 else 1)

    monkeypatch.setitem(MODELS.module_dict, 'LabelledDiceLoss', Counting)
    eager, *_ = losses(build(SMALL), 2)
    own, _, (message,) = losses(build(SMALL), 2, CompileHook(backend='eager', mode=None))
    assert own == eager
    assert 'continues without it' in message


@torch._dynamo.config.patch(cache_size_limit=2)
def test_inputs_of_many_sizes_end_compilation():
    model = build(SMALL)
    run, hook = Run(model), CompileHook(backend='eager', mode=None)
    hook.before_train(run)
    for count, size in enumerate((32, 48, 64, 80), 1):
        batch = noise_batch(model.data_preprocessor, 2, 4, (size, size), 4)
        model(**model.data_preprocessor(batch, True), mode='loss')
        assert len(run.warnings) == (count > 2)
    assert 'limit' in run.warnings[0]
    assert len(run.warnings[0].splitlines()) == 1


def test_errors_of_the_model_are_its_own():
    model = build(SMALL)
    run, hook = Run(model), CompileHook(backend='eager', mode=None)
    hook.before_train(run)
    data = model.data_preprocessor(noise_batch(model.data_preprocessor, 2, 4, (32, 32), 4), True)
    data['inputs'] = data['inputs'][:, :3]
    with pytest.raises(UserError, match='3 bands'):
        model(**data, mode='loss')
    assert not run.warnings


def test_missing_memory_is_not_a_failure_of_the_compiler():
    def backend(graph, inputs):
        def run(*args):
            raise torch.OutOfMemoryError('CUDA out of memory')

        return run

    with pytest.raises(torch.OutOfMemoryError):
        losses(build(SMALL), 1, CompileHook(backend=backend, mode=None))


@pytest.mark.parametrize('classes', [1, 5])
def test_accuracy_equals_that_of_mmseg(classes):
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 9, 7)
    label = torch.randint(0, max(2, classes), (2, 9, 7))
    label[0, :4] = 255
    for target in (label, torch.full_like(label, 255)):
        expected = accuracy(logits, target, ignore_index=255)
        torch.testing.assert_close(pixel_accuracy(logits, target, ignore_index=255), expected)


def test_option_adds_the_hook_and_a_fused_optimizer(monkeypatch):
    path = ROOT / 'configs/dnas/dnas_l12_w16_naip.py'
    with pytest.raises(UserError, match='--compile requires a GPU'):
        compile_steps(load_config(path))
    monkeypatch.setattr('dnas_mmseg.engine.running.get_device', lambda: 'cuda')
    config = load_config(path)
    compile_steps(config)
    assert config.custom_hooks[-1].type == 'CompileHook'
    assert config.optim_wrapper.optimizer.fused is True
    with pytest.raises(UserError, match='accumulative_counts'):
        compile_steps(load_config(path, options={'optim_wrapper.accumulative_counts': 2}))
    config.optim_wrapper.optimizer = dict(type='RMSprop', lr=0.1)
    compile_steps(config)
    assert 'fused' not in config.optim_wrapper.optimizer
    assert [hook.type for hook in config.custom_hooks].count('CompileHook') == 1


def test_a_run_with_the_hook_trains(data_root, tmp_path):
    options = {
        'train_cfg.max_epochs': 1,
        'param_scheduler.T_max': 1,
        'custom_hooks': [dict(type='CompileHook', backend='aot_eager', mode=None)],
        **{f'{split}_dataloader.num_workers': 0 for split in ('train', 'val')},
    }
    path = ROOT / 'configs/dnas/dnas_l12_gid5.py'
    config = load_config(path, data_root=data_root, work_dir=str(tmp_path), options=options)
    for part in ('backbone', 'decode_head'):
        config.model[part] = dict(SMALL[part])
    config.model.decode_head.num_classes = 5
    runner = build_runner(config)
    runner.train()
    assert runner.epoch == 1
    assert 'train/decode.acc_seg' in runner.message_hub.log_scalars

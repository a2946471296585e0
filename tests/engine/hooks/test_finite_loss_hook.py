"""A non-finite loss stops training."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmseg.structures import SegDataSample

from dnas_mmseg.engine import FiniteLossHook
from dnas_mmseg.engine.hooks.finite_loss_hook import worst
from dnas_mmseg.errors import UserError

BATCH = dict(data_samples=[SegDataSample(metainfo=dict(img_path=f'{n}.tif')) for n in 'ab'])


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(work_dir=str(tmp_path), epoch=2, iter=41)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_error_reports_the_tiles_and_the_last_checkpoint(runner, tmp_path, value):
    hook = FiniteLossHook()
    loss = {'loss': torch.tensor(value)}
    place = rf'the loss is {value} in epoch 3, iteration 42, on a\.tif, b\.tif\.'
    with pytest.raises(UserError, match=rf'{place}.* checkpoint: none yet$'):
        hook.after_train_iter(runner, 0, BATCH, loss)
    (tmp_path / 'epoch_2.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth\n')
    with pytest.raises(UserError, match=rf'{place}.* checkpoint: {tmp_path}/epoch_2\.pth$'):
        hook.after_train_iter(runner, 0, BATCH, loss)


def test_finite_losses_raise_no_error(runner):
    hook = FiniteLossHook()
    for outputs in ({'loss': torch.tensor(1e30)}, {'loss': 0.0}, {}, None):
        hook.after_train_iter(runner, 0, BATCH, outputs)
    weights = {'w': torch.ones(3), 'n': torch.tensor(7)}
    hook.before_save_checkpoint(runner, {'state_dict': weights})


def test_non_finite_weights_are_not_saved(runner):
    weights = {'fine': torch.ones(3), 'w': torch.tensor([1.0, math.inf])}
    message = r'^w is inf in epoch 3.* after a step on unknown tiles'
    with pytest.raises(UserError, match=message):
        FiniteLossHook().before_save_checkpoint(runner, {'state_dict': weights})


def test_worst_of_several_values():
    fine, endless, missing = (torch.tensor([1.0, v]) for v in (2.0, -math.inf, math.nan))
    assert worst(fine, fine) == 0
    assert worst(fine, endless) == math.inf
    assert math.isnan(worst(endless, missing))

"""Command `dnas train`."""

import json
import sys
from importlib.util import find_spec

import pytest
import torch

from dnas_cli.train import main
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.running import test as evaluate

from ..conftest import ROOT, TORCHRUN, run, run_two

DNAS = 'configs/dnas/dnas_l12_gid5.py'


def test_distributed_training_on_the_cpu(data_root, tmp_path):
    """mmengine alone would require GPUs."""
    code, output = run(
        *TORCHRUN,
        ROOT / 'tools/train.py', ROOT / DNAS, '--launcher', 'pytorch',
        '--data-root', data_root, '--work-dir', tmp_path / 'run', '--auto-scale-lr',
        '--cfg-options', 'train_cfg.max_epochs=1', 'model.backbone.base_channels=2',
        'model.decode_head.channels=8', 'train_dataloader.batch_size=1',
    )  # fmt: skip
    assert code == 0, output
    assert 'the current batch size is 2' in output
    assert (tmp_path / 'run/epoch_1.pth').exists()


@pytest.mark.parametrize('averaged', [False, True])
def test_two_processes_validate_the_model_that_is_saved(data_root, tmp_path, averaged):
    """Each of them has batch-norm statistics of its own tiles."""
    hook = dict(type='EMAHook', ema_type='ForeachMomentumAnnealingEMA', update_buffers=True)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT / DNAS}'\n"
        'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'
        'train_dataloader = dict(batch_size=1)\n'
        'train_cfg = dict(max_epochs=4, val_interval=4)\n'
        f'custom_hooks = {[hook] if averaged else []}\n'
    )
    options = ('--data-root', data_root, '--work-dir', tmp_path / 'run')
    code, output = run_two(
        ROOT / 'tools/train.py', config, '--launcher', 'pytorch', *options,
        '--cfg-options', 'optim_wrapper.optimizer.lr=0.05',
    )  # fmt: skip
    assert code == 0, output
    scores = json.loads((tmp_path / 'run/validation.json').read_text())
    assert scores['last'] == scores['best']
    loaded = load_config(config, data_root=data_root, work_dir=tmp_path / 'test')
    for name in ('epoch_4.pth', scores['checkpoint']):  # the test tiles are the validation tiles
        found = evaluate(loaded, str(tmp_path / 'run' / name))
        assert found['mIoU'] == pytest.approx(scores['last'], abs=0.011)


def test_mixed_precision_without_a_gpu_is_refused(data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/train.py', ROOT / DNAS, '--data-root', data_root, '--amp',
        '--work-dir', tmp_path / 'run',
    )  # fmt: skip
    assert code == 1
    assert output.strip().splitlines()[-1].startswith('error: mixed precision')
    assert 'Traceback' not in output
    assert not (tmp_path / 'run').exists()


def test_distributed_runs_print_once(data_root, tmp_path):
    code, output = run_two(
        ROOT / 'tools/train.py', ROOT / DNAS, '--launcher', 'pytorch', '--resume',
        '--data-root', data_root, '--work-dir', tmp_path / 'run',
        '--cfg-options', 'train_cfg.max_epochs=1', 'model.backbone.base_channels=2',
        'model.decode_head.channels=8', 'train_dataloader.batch_size=1', 'trian_cfg.x=1',
    )  # fmt: skip
    assert code == 0, output
    assert output.count('did you mean train_cfg?') == 1
    assert output.count('contains no training run; a new training run starts') == 1
    assert 'System environment' not in output


def test_resuming_a_run_that_started_from_weights(data_root, tmp_path, monkeypatch):
    """The second call resumes the run, not the weights that it started from."""
    runs = []
    monkeypatch.setattr('dnas_mmseg.engine.running.train', runs.append)
    words = ['train', str(ROOT / DNAS), '--data-root', str(data_root), '--work-dir']
    words += [str(tmp_path / 'run'), '--resume', '--cfg-options', 'load_from=start.pth']
    monkeypatch.setattr('sys.argv', words)
    main()
    (tmp_path / 'run').mkdir()
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'run/epoch_3.pth')
    (tmp_path / 'run/last_checkpoint').write_text('epoch_4.pth')  # which is lost
    main()
    (tmp_path / 'run/epoch_3.pth').write_bytes(b'damaged')
    main()
    assert [(run.resume, run.load_from) for run in runs] == [
        (False, 'start.pth'), (True, None), (False, 'start.pth'),
    ]  # fmt: skip


def test_a_length_without_a_checkpoint_is_that_of_no_run(data_root, tmp_path, monkeypatch):
    """A training over seeds that was started has a config of its runs."""
    asked = []
    monkeypatch.setattr('dnas_mmseg.engine.running.train', lambda config: None)
    monkeypatch.setattr('dnas_mmseg.engine.seeds.train_seeds', lambda *args: sys.exit())
    monkeypatch.setattr('dnas_mmseg.engine.length.set_length', lambda *args: asked.append(args[2]))
    words = ['train', str(ROOT / DNAS), '--data-root', str(data_root), '--work-dir']
    words += [str(tmp_path / 'run'), '--resume', '--hours', '2']
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/last_checkpoint').write_text('epoch_4.pth')
    (tmp_path / 'run/epoch_4.pth').write_bytes(b'damaged')
    monkeypatch.setattr('sys.argv', words)
    main()
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'run/epoch_4.pth')
    main()
    assert asked == [False, True]
    monkeypatch.setattr('sys.argv', [*words, '--seeds', '2'])
    with pytest.raises(SystemExit):
        main()
    assert asked == [False, True, False]


def test_length_from_hours_with_a_frozen_encoder(data_root, tmp_path):
    command = (
        ROOT / 'tools/train.py', ROOT / DNAS, '--data-root', data_root, '--work-dir',
        tmp_path / 'run', '--hours', '0.0045', '--early-stopping', '2',
    )  # fmt: skip
    options = (
        '--cfg-options', 'model.backbone.base_channels=2', 'model.decode_head.channels=8',
        'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
    )  # fmt: skip
    code, output = run(*command, '--freeze', 'encoder', *options)
    assert code == 1
    assert 'the backbone has no pretrained weights' in output
    code, output = run(*command, *options)
    assert code == 0, output
    stored = json.loads((tmp_path / 'run/length.json').read_text())
    assert f'0.0045 hours: {stored["epochs"]} epochs of' in output
    assert len(list((tmp_path / 'run').glob('epoch_*.pth'))) > 0
    code, output = run(*command, '--resume', *options)
    assert code == 0, output
    assert f'{stored["epochs"]} epochs, as before' in output
    code, output = run(*command, '--launcher', 'pytorch', *options)
    assert code == 1
    assert '--hours times one process' in output


def test_batch_size_and_backends(data_root, tmp_path):
    missing = next(name for name in ('mlflow', 'wandb', 'aim', 'neptune') if not find_spec(name))
    command = (
        ROOT / 'tools/train.py', ROOT / DNAS, '--data-root', data_root, '--work-dir',
        tmp_path / 'run', '--cfg-options', 'train_cfg.max_epochs=1', 'param_scheduler.T_max=1',
        'model.backbone.base_channels=2', 'model.decode_head.channels=8',
        'default_hooks.logger.interval=1',
    )  # fmt: skip
    for options, words in (
        (('--log-to', 'tensorbord'), '--log-to tensorbord: no such backend; choose among aim, '),
        (('--log-to', missing), f'requires {missing}, which is not installed: pip install'),
        (('--batch-size', '0'), 'argument --batch-size: 0: expected auto or a positive integer'),
        (('--batch-size', 'auto', '--resume'), '--batch-size auto measures one new process'),
    ):
        code, output = run(*command, *options)
        assert code != 0
        assert output.strip().splitlines()[-1].startswith('error: ')
        assert words in output
        assert not (tmp_path / 'run').exists()
    code, output = run(*command, '--batch-size', '4', '--log-to', 'tensorboard')
    assert code == 0, output
    assert 'Epoch(train) [1][1/1]' in output  # four tiles in one step
    assert read_scalars(tmp_path / 'run', 'loss') == 1
    assert len(list((tmp_path / 'run').glob('*/vis_data/scalars.json'))) == 1


def read_scalars(folder, name):
    """Return the number of values of a scalar in the only event file below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.rglob('events.out.tfevents.*')
    accumulator = EventAccumulator(str(events.parent))
    accumulator.Reload()
    return len(accumulator.Scalars(name))

"""Training, as a user starts it."""

from ..conftest import ROOT, TORCHRUN, run, run_two

DNAS = 'configs/dnas/dnas_l12_gid5.py'


def test_two_processes_train_together(data_root, tmp_path):
    """By torchrun on the CPU, where mmengine alone would ask for GPUs."""
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


def test_the_tool_refuses_mixed_precision_without_a_gpu(data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/train.py', ROOT / DNAS, '--data-root', data_root, '--amp',
        '--work-dir', tmp_path / 'run',
    )  # fmt: skip
    assert code == 1
    assert output.strip().splitlines()[-1].startswith('error: mixed precision')
    assert 'Traceback' not in output
    assert not (tmp_path / 'run').exists()


def test_two_processes_share_one_quiet_console(data_root, tmp_path):
    code, output = run_two(
        ROOT / 'tools/train.py', ROOT / DNAS, '--launcher', 'pytorch', '--resume',
        '--data-root', data_root, '--work-dir', tmp_path / 'run',
        '--cfg-options', 'train_cfg.max_epochs=1', 'model.backbone.base_channels=2',
        'model.decode_head.channels=8', 'train_dataloader.batch_size=1', 'trian_cfg.x=1',
    )  # fmt: skip
    assert code == 0, output
    assert output.count('did you mean train_cfg?') == 1
    assert output.count('holds no checkpoint to go on from') == 1
    assert 'System environment' not in output

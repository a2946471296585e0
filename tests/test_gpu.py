"""User workflows on a GPU: `make test-gpu`."""

import json

import numpy as np
import pytest
import torch

from dnas_mmseg.raster import read_raster

from .conftest import ROOT, make_data_root, run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU is shown')


@pytest.fixture
def config(tmp_path):
    """A config of small networks with two epochs."""
    path = tmp_path / 'tiny.py'
    path.write_text(f"""
_base_ = '{ROOT}/configs/dnas/dnas_l14_adamw-ema_gid5.py'
data_root = '{make_data_root(tmp_path / 'data', count=14)}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(batch_size=4, dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2, val_interval=2)
""")
    return path


def dnas(*words):
    code, output = run('-m', 'dnas_mmseg', *words)
    assert code == 0, output
    return output


@pytest.mark.parametrize(
    'precision',
    [(), ('--amp',), ('--compile',), ('--amp', '--compile')],
    ids=['float32', 'amp', 'compiled', 'amp, compiled'],
)
def test_training_testing_and_maps_as_on_a_cpu(config, tmp_path, precision):
    output = dnas('train', config, '--work-dir', tmp_path / 'run', *precision)
    assert 'memory: ' in output  # mmengine only logs it on GPUs
    assert 'continues without it' not in output  # of --compile
    checkpoint = tmp_path / 'run/epoch_2.pth'
    dnas('test', config, checkpoint, '--work-dir', tmp_path / 'test')
    assert 0 <= json.loads((tmp_path / 'test/test_scores.json').read_text())['mIoU'] <= 100
    maps = []
    for device in ('cuda', 'cpu'):
        out = tmp_path / device
        image = tmp_path / 'data/images/t_0_0.tif'
        dnas('predict', config, checkpoint, image, '--out-dir', out, '--device', device)
        maps.append(read_raster(out / 't_0_0.tif'))
    assert np.mean(maps[0] == maps[1]) > 0.99


def test_a_gradient_search_in_mixed_precision(config, tmp_path):
    work_dir = tmp_path / 'run'
    dnas(
        'search', 'dnas', '--config', config, '--layers', 4, '--work-dir', work_dir, '--epochs', 2,
        '--arch-start', 0, '--crop', 32, '--batch', 2, '--retrain',
        '--search-options', 'optim_wrapper.type=AmpOptimWrapper',
    )  # fmt: skip
    assert (work_dir / 'architecture.json').is_file()
    assert (work_dir / 'test/test_scores.json').is_file()


def test_two_workers_share_a_gpu(config, tmp_path):
    work_dir = tmp_path / 'run'
    dnas(
        'select', '--config', config, '--hours', 0.03, '--families', 'dnas', '--layers', 4,
        '--workers', 2, '--work-dir', work_dir,
    )  # fmt: skip
    facts = [json.loads(p.read_text())['facts'] for p in work_dir.glob('trainings/*/rung_*.json')]
    assert len(facts) > 6
    assert {fact['device'] for fact in facts} == {torch.cuda.get_device_name()}
    assert (work_dir / 'final/test/test_scores.json').is_file()


def test_latencies_are_measured_on_the_gpu(config, tmp_path):
    table = tmp_path / 'latency.json'
    dnas('measure-latency', 'dnas', config, table, '--layers', 4, '--size', 64)
    assert json.loads(table.read_text())['facts']['device'] == torch.cuda.get_device_name()

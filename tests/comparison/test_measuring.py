"""Models side by side, as `tools/analysis_tools/benchmark.py` puts them."""

import csv
import json

import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.comparison.measuring import Entry, compare, complexity
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError

from ..conftest import ROOT, run

NARROW = 'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'


@pytest.fixture
def configs(tmp_path):
    """Ours, a stock one, and one that cannot run."""
    paths = {}
    for name, base, text in (
        ('ours', 'dnas/dnas_l12_gid5', NARROW),
        ('stock', 'hrnet/fcn_hr18s_gid5', ''),
        ('broken', 'hrnet/fcn_hr18s_gid5', 'model = dict(decode_head=dict(in_channels=[1] * 4))\n'),
    ):
        paths[name] = tmp_path / f'{name}.py'
        paths[name].write_text(f"_base_ = '{ROOT}/configs/{base}.py'\n{text}")
    return paths


def test_the_tool_writes_tables_pictures_and_a_page(configs, data_root, tmp_path):
    config = Config.fromfile(str(configs['ours']))
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'ours.pth'))
    out = tmp_path / 'out'
    code, output = run(
        ROOT / 'tools/analysis_tools/benchmark.py', f'{configs["ours"]}:{tmp_path / "ours.pth"}',
        configs['stock'], configs['broken'], '--out', out, '--size', 64, '--repeat', 2,
        '--threads', 1, '--data-root', data_root,
    )  # fmt: skip
    assert code == 0, output
    ours, stock, broken = json.loads((out / 'comparison.json').read_text())['models']
    cost = complexity(config, (64, 64))
    assert (ours['parameters'], ours['macs']) == (cost.parameters, cost.macs)
    for row in (ours, stock):
        assert len(row['latency']) == 2
        assert min(row['latency'] + row['step']) > 0
        assert row['step_memory'] > 0
    assert 0 <= ours['scores']['mIoU'] <= 100
    assert 'IoU.water' in ours['scores']
    assert not stock['scores']
    assert 'not counted: HRNet cannot run on images of 64 x 64' in broken['notes'][0]
    assert broken['notes'][1].startswith('prediction: ')
    assert 'parameters' not in broken or broken['parameters'] is None
    with (out / 'comparison.csv').open() as file:
        lines = list(csv.reader(file))
    assert [line[0] for line in lines[1:]] == ['ours', 'stock', 'broken']
    page = (out / 'index.html').read_text()
    assert '<svg' in page
    assert 'src=' not in page
    assert '<link' not in page
    assert (out / 'pareto.png').stat().st_size > 1000
    assert (out / 'pareto.svg').is_file()


def test_a_missing_test_set_leaves_the_counts(configs, tmp_path):
    config = Config.fromfile(str(configs['ours']))
    config.test_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    save_checkpoint(
        dict(state_dict=MODELS.build(config.model).state_dict()), str(tmp_path / 'm.pth')
    )
    (result,) = compare(
        [Entry('ours', config, str(tmp_path / 'm.pth'))],
        size=(64, 64), repeat=1, training=False, out_dir=str(tmp_path),
    )  # fmt: skip
    assert result.cost.macs > 0
    assert result.latency
    assert 'not tested: ' in result.notes[0]
    assert 'nowhere: no such folder' in result.notes[0]


def test_auxiliary_heads_are_trained_and_not_counted(tmp_path):
    config = Config.fromfile(str(ROOT / 'configs/pspnet/pspnet_r18-d8_gid5.py'))
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'm.pth'))
    whole = sum(p.numel() for p in model.parameters())
    auxiliary = sum(p.numel() for p in model.auxiliary_head.parameters())
    config.test_dataloader = None
    (result,) = compare(
        [Entry('psp', config, str(tmp_path / 'm.pth'))], size=(64, 64), repeat=1,
        out_dir=str(tmp_path),
    )  # fmt: skip
    assert result.cost.parameters == whole - auxiliary
    assert 'auxiliary_head' in config.model
    assert result.step
    assert result.notes[0].startswith('not tested: ')


def test_what_is_refused(configs, tmp_path):
    ours, stock = (Config.fromfile(str(configs[name])) for name in ('ours', 'stock'))
    with pytest.raises(UserError, match='names of their own'):
        compare([Entry('a', ours), Entry('a', stock)])
    save_checkpoint(
        dict(state_dict=MODELS.build(stock.model).state_dict()), str(tmp_path / 'm.pth')
    )
    with pytest.raises(CheckpointError, match=r'm\.pth does not fit the model'):
        compare([Entry('a', ours, str(tmp_path / 'm.pth'))], size=(64, 64))


def test_counts_of_many_configs(configs):
    code, output = run(
        ROOT / 'tools/analysis_tools/get_flops.py', configs['ours'], configs['stock'], '--size', 64
    )
    assert code == 0, output
    assert 'stock' in output
    assert '3,936,091' in output
    config = Config.fromfile(str(configs['ours']))
    complexity(config, (64, 64), bands=8, paper=True)
    assert config.model.backbone.in_channels == 4
    assert 'prune' not in config.model.backbone
    code, output = run(ROOT / 'tools/analysis_tools/get_flops.py', configs['broken'])
    assert code == 1
    assert 'error: HRNet cannot run on images of 512 x 512' in output


def test_latency_of_parts_by_the_tool(configs, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/measure_latency.py', 'dnas', configs['ours'],
        tmp_path / 'latency.json', '--size', 32, '--threads', 1, '--repeat', 1, '--layers', 4,
    )  # fmt: skip
    assert code == 0, output
    assert '188 parts' in output
    facts = json.loads((tmp_path / 'latency.json').read_text())['facts']
    assert 0 < facts['calibration'] < 100
    assert (facts['base_channels'], facts['size'], facts['threads']) == (2, [32, 32], 1)

"""Command `dnas compare`."""

import csv
import json

from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.comparison.measuring import complexity

from ..conftest import ROOT, run


def test_tables_figures_and_report_are_written(configs, data_root, tmp_path):
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
    assert page.count('<link') == page.count('<link rel="icon" href="data:,">') == 1
    assert (out / 'pareto.png').stat().st_size > 1000
    assert (out / 'pareto.svg').is_file()

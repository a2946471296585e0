"""The command-line programs, as a user starts them."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.preparation.synthetic import write_scenes
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, TWO_PROCESSES, run

TOOLS = sorted(path.relative_to(ROOT / 'tools') for path in (ROOT / 'tools').rglob('*.py'))


@pytest.mark.parametrize('tool', [t for t in TOOLS if t.name != 'env.py'], ids=str)
def test_help_teaches(tool, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool.name, '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert end.value.code == 0
    assert 'python tools/' in capsys.readouterr().out, 'an example is missing'


def test_the_environment_check():
    code, output = run(ROOT / 'tools/env.py')
    assert code == 0, output
    assert 'with gdal_array' in output


def test_scenes_to_tiles(tmp_path):
    write_scenes(tmp_path / 'release', count=3, size=64)
    code, output = run(
        ROOT / 'tools/dataset_converters/gid5.py', tmp_path / 'release',
        '--out', tmp_path / 'data', '--tile-size', 32, '--workers', 1,
    )  # fmt: skip
    assert code == 0, output
    assert json.loads((tmp_path / 'data/dataset.json').read_text())['tile_size'] == [32, 32]
    assert len((tmp_path / 'data/train.txt').read_text().splitlines()) == 4
    code, output = run(ROOT / 'tools/dataset_converters/gid5.py', tmp_path)
    assert code == 1
    assert 'no 8-bit release of GID-5 is there. Expected image_NirRGB and label_5' in output


def test_scenes_of_any_folder_to_tiles(tmp_path, rng):
    for name in ('a', 'b', 'c'):
        samples = rng.integers(1, 3000, (3, 40, 40)).astype(np.uint16)
        write_raster(tmp_path / f'in/scenes/{name}.tif', samples)
        write_raster(tmp_path / f'in/truth/{name}_gt.png', np.ones((40, 40), np.uint8))
    facts = dict(
        classes=['roof', 'road'], palette=[[1, 2, 3], [4, 5, 6]], bands=['red', 'nir', 'swir'],
        label_convention='index',
    )  # fmt: skip
    (tmp_path / 'facts.json').write_text(json.dumps(facts))
    command = (
        ROOT / 'tools/dataset_converters/gid5.py', tmp_path / 'in', '--out', tmp_path / 'out',
        '--images', 'scenes/*.tif', '--labels', 'truth/{name}_gt.png',
        '--facts', tmp_path / 'facts.json', '--tile-size', 20, '--scale-to-8-bit', 0, 3000,
    )  # fmt: skip
    code, output = run(*command, '--workers', 2)
    assert code == 0, output
    written = json.loads((tmp_path / 'out/dataset.json').read_text())
    assert written['bands'] == ['red', 'nir', 'swir']
    assert written['dtype'] == 'uint8'
    assert written['provenance']['scaled_to_8_bit_from'] == [0, 3000]
    assert written['class_shares'] == [1, 0]
    code, output = run(*command[:-3])
    assert code == 1
    assert 'cut with another scale: choose another folder' in output


def test_check_reports_everything_wrong(data_root, tmp_path):
    config = ROOT / 'configs/dnas/dnas_l14_gid5.py'
    command = (ROOT / 'tools/analysis_tools/browse_dataset.py', config, '--data-root', data_root)
    code, output = run(*command, '--check')
    assert code == 0, output
    assert '0 problems' in output
    assert 'class_weight=[' in output
    # What is to be pasted takes effect as it stands.
    pasted = output[output.index('model = dict(') : output.index('\n)\n') + 3]
    (tmp_path / 'pasted.py').write_text(f"_base_ = '{config}'\n{pasted}")
    images = [read_raster(data_root / f'images/t_{i}_0.tif') for i in range(4)]
    mean = np.mean(images, axis=(0, 2, 3)).round(2)
    merged = Config.fromfile(str(tmp_path / 'pasted.py')).model.data_preprocessor
    np.testing.assert_allclose(merged.mean, mean, atol=0.011)
    assert merged.type == 'MultiBandDataPreProcessor'
    label = read_raster(data_root / 'labels/t_3_0.png')[0]
    label[5, 5:9] = 7
    write_raster(data_root / 'labels/t_3_0.png', label)
    write_raster(data_root / 'images/t_1_0.tif', np.zeros((5, 64, 64), np.uint8))
    code, output = run(*command, '--check')
    assert code == 1
    assert 't_3_0.png: label values 7 (4 pixels) are unknown' in output
    assert 't_1_0.tif: 5 bands, expected 4' in output


def test_browsing_draws_what_the_pipeline_yields(data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/browse_dataset.py', ROOT / 'configs/dnas/dnas_l14_gid5.py',
        '--data-root', data_root, '--out-dir', tmp_path / 'pictures', '--number', 2,
    )  # fmt: skip
    assert code == 0, output
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2


def test_checkpoints_are_converted_and_back(shared, tmp_path):
    tool = ROOT / 'tools/model_converters/dnas_checkpoint.py'
    source = shared / 'reference/retrain_l14_b8.pth.tar'
    code, output = run(tool, source, tmp_path / 'a.pth', '--architecture', 'dnas_l14_gid5')
    assert code == 0, output
    assert output.count('dropped, without influence on the output') == 6
    code, output = run(tool, source, tmp_path / 'whole.pth', '--keep-dead')
    assert code == 0, output
    code, output = run(tool, tmp_path / 'whole.pth', tmp_path / 'back.pth.tar', '--reverse')
    assert code == 0, output
    back = torch.load(tmp_path / 'back.pth.tar', weights_only=True)['state_dict']
    theirs = torch.load(source, weights_only=True)['state_dict']
    assert back.keys() == theirs.keys()
    code, output = run(tool, source, tmp_path / 'b.pth', '--architecture', 'dnas_l12_gid5')
    assert code == 1
    assert 'error: this is a checkpoint of another architecture than dnas_l12_gid5' in output
    assert not (tmp_path / 'b.pth').exists()


def test_two_processes_train_together(data_root, tmp_path):
    """By torchrun on the CPU, where mmengine alone would ask for GPUs."""
    code, output = run(
        *TWO_PROCESSES,
        ROOT / 'tools/train.py', ROOT / 'configs/dnas/dnas_l12_gid5.py', '--launcher', 'pytorch',
        '--data-root', data_root, '--work-dir', tmp_path / 'run', '--auto-scale-lr',
        '--cfg-options', 'train_cfg.max_epochs=1', 'model.backbone.base_channels=2',
        'model.decode_head.channels=8', 'train_dataloader.batch_size=1',
    )  # fmt: skip
    assert code == 0, output
    assert 'the current batch size is 2' in output
    assert (tmp_path / 'run/epoch_1.pth').exists()


def test_the_demo_removes_nothing_that_it_did_not_make(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/mine.txt').write_text('mine')
    code, output = run(ROOT / 'tools/demo.py', '--work-dir', tmp_path)
    assert code == 1
    assert 'is not empty, and no demo has made it: choose another --work-dir' in output
    assert (tmp_path / 'data/mine.txt').read_text() == 'mine'
    assert [path.name for path in tmp_path.iterdir()] == ['data']

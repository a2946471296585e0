"""Command `dnas check`."""

import shutil

import numpy as np
from mmengine.config import Config

from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.dataset_report import check_dataset
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, make_data_root, run


def test_problems_are_reported(data_root, tmp_path):
    config = ROOT / 'configs/dnas/dnas_l14_gid5.py'
    command = (
        ROOT / 'tools/analysis_tools/check_dataset.py',
        config,
        '--data-root',
        data_root,
        '--split',
        'train',
    )
    code, output = run(*command)
    assert code == 0, output
    assert '0 problems' in output
    assert 'dnas train --class-weights' in output
    # The config snippet is valid and takes effect.
    pasted = output[output.index('model = dict(') : output.index('\n)\n') + 3]
    (tmp_path / 'pasted.py').write_text(f"_base_ = '{config}'\n{pasted}")
    images = [read_raster(data_root / f'images/t_{i}_0.tif') for i in range(4)]
    mean = np.mean(images, axis=(0, 2, 3))
    merged = Config.fromfile(str(tmp_path / 'pasted.py')).model.data_preprocessor
    np.testing.assert_allclose(merged.mean, mean, atol=0.011)
    assert merged.type == 'MultiBandDataPreProcessor'
    label = read_raster(data_root / 'labels/t_3_0.png')[0]
    label[5, 5:9] = 7
    write_raster(data_root / 'labels/t_3_0.png', label)
    write_raster(data_root / 'images/t_1_0.tif', np.zeros((5, 64, 64), np.uint8))
    code, output = run(*command)
    assert code == 1
    assert 't_3_0.png: label values 7 (4 pixels, 0.0977 %) are unknown' in output
    assert 't_1_0.tif: 5 bands, expected 4' in output


def test_all_splits_and_the_model_are_checked(data_root, tmp_path):
    """Problems that would stop or bias a training run are reported."""
    tool, config = ROOT / 'tools/analysis_tools/check_dataset.py', tmp_path / 'mine.py'
    names = [line.split('\t')[0] for line in (data_root / 'train.txt').read_text().splitlines()]
    for split, lines in (('train', 4), ('val', 3), ('test', 2)):
        text = ''.join(f'{n}\t{n.replace("images", "labels")[:-3]}png\n' for n in names[:lines])
        (data_root / f'{split}.txt').write_text(text)
    base = f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n"
    config.write_text(f'{base}model = dict(data_preprocessor=dict(mean=[900] * 4))\n')
    code, output = run(tool, config, '--data-root', data_root)
    assert code == 1
    for words in (
        '4 pairs', '3 pairs', '2 pairs', '3 tiles are in train and in val', '2 tiles are in val',
        'PROBLEM  the normalisation in the config differs from the statistics above',
    ):  # fmt: skip
        assert words in output
    for change, words in (
        ('decode_head=dict(num_classes=7)', 'num_classes=7'),
        (
            'backbone=dict(in_channels=3)',
            'the network expects 3 bands, the data have nir, red, green',
        ),
        ('data_preprocessor=dict(std=[1, 2])', 'mean has 4 bands, std has 2'),
    ):
        config.write_text(f'{base}model = dict({change})\n')
        code, output = run(tool, config, '--data-root', data_root, '--split', 'train')
        assert code == 1
        assert words in output


REFLECTANCE = """
_base_ = '{root}/configs/dnas/dnas_l12_gid5.py'
model = dict(
    data_preprocessor=dict(mean=[0.05] * 4, std=[1e-3] * 4),
    backbone=dict(in_channels=3),
)
"""


def test_statistics_of_reflectances_have_significant_digits(tmp_path, rng):
    """Standard deviations of 0.001 are not rounded to 0, and the snippet fixes the network."""
    root = make_data_root(tmp_path / 'data', dtype='float32')
    for path in (root / 'images').glob('*.tif'):
        samples = (0.05 + 1e-3 * rng.standard_normal((4, 64, 64))).astype(np.float32)
        write_raster(path, samples, names=BANDS)
    config = tmp_path / 'mine.py'
    config.write_text(REFLECTANCE.format(root=ROOT))
    tool = ROOT / 'tools/analysis_tools/check_dataset.py'
    code, output = run(tool, config, '--data-root', root, '--split', 'train')
    assert code == 1
    assert 'the network expects 3 bands' in output
    pasted = output[output.index('model = dict(') : output.index('\n)\n') + 3]
    (tmp_path / 'pasted.py').write_text(f"_base_ = 'mine.py'\n{pasted}")
    model = Config.fromfile(str(tmp_path / 'pasted.py')).model
    np.testing.assert_allclose(model.data_preprocessor.std, 1e-3, rtol=0.1)
    assert (model.backbone.in_channels, model.decode_head.num_classes) == (4, 5)
    code, output = run(tool, tmp_path / 'pasted.py', '--data-root', root, '--split', 'train')
    assert code == 0, output


def test_duplicate_tiles_and_unlabelled_splits(data_root, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n")
    lines = (data_root / 'train.txt').read_text().splitlines()
    (data_root / 'train.txt').write_text('\n'.join([*lines, f'./{lines[0]}']) + '\n')
    for line in (data_root / 'val.txt').read_text().splitlines():
        write_raster(data_root / line.split('\t')[1], np.full((64, 64), 255, np.uint8))
    (data_root / 'test.txt').write_text('images/copy.tif\tlabels/t_0_0.png\n')
    shutil.copy(data_root / 'images/t_0_0.tif', data_root / 'images/copy.tif')
    tool = ROOT / 'tools/analysis_tools/check_dataset.py'
    code, output = run(tool, config, '--data-root', data_root)
    assert code == 1
    assert 'CHECK    1 tiles are in train more than once' in output
    assert 'PROBLEM  1 tiles are in train and in test' in output
    assert 'copy.tif' in output
    assert 'PROBLEM  val has no labelled pixel' in output


def test_baselines_without_a_network(data_root, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n")
    tool = ROOT / 'tools/analysis_tools/check_dataset.py'
    _, output = run(tool, config, '--data-root', data_root, '--baseline')
    assert 'baselines without a network, mIoU on val:' in output
    trees, majority = (
        float(output.split(f'  {name} ')[1].split(' %')[0])
        for name in ('per-pixel trees', 'majority class')
    )
    assert 0 < majority < 30
    assert 0 < trees <= 100
    code, output = run(tool, config, '--data-root', data_root, '--split', 'val', '--baseline')
    assert code == 1
    assert output.strip() == (
        'error: --baseline needs the splits train and val: leave out --split'
    )  # before files are read


def test_findings_are_shown_although_the_baselines_fail(data_root, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n")
    (data_root / 'images/t_1_0.tif').write_bytes(b'')
    tool = ROOT / 'tools/analysis_tools/check_dataset.py'
    page = tmp_path / 'page.html'
    code, output = run(tool, config, '--data-root', data_root, '--baseline', '--report', page)
    assert code == 1
    assert 'PROBLEM  2 tiles are in val and in test' in output
    assert f'report: {page}' in output
    assert page.is_file()
    assert output.splitlines()[-1].startswith('error: ')
    assert 't_1_0.tif' in output.splitlines()[-1]


def test_a_page_is_written(data_root, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\nwork_dir = '{tmp_path}/run'\n"
    )
    command = (ROOT / 'tools/analysis_tools/check_dataset.py', config, '--data-root', data_root)
    _, output = run(*command, '--report')
    assert f'report: {tmp_path}/run/check.html' in output
    page = (tmp_path / 'run/check.html').read_text()
    assert '<h1>Data set of mine.py</h1>' in page
    assert '2 tiles are in val and in test' in page
    _, output = run(*command, '--report', tmp_path / 'own.html', '--split', 'val')
    assert f'report: {tmp_path}/own.html' in output
    page = (tmp_path / 'own.html').read_text()
    assert '<h3>val</h3>' in page
    assert '<h3>train</h3>' not in page
    code, output = run(*command, '--report', tmp_path)
    assert code == 1
    assert output.strip() == (
        f'error: --report {tmp_path} is a folder: expected the path of the page'
    )


def test_deviating_images_are_named(data_root):
    config = load_config(ROOT / 'configs/dnas/dnas_l12_gid5.py', data_root=data_root)
    path = data_root / 'images/t_1_0.tif'
    samples = read_raster(path).astype(np.uint8)
    samples[:, :32] = 255
    write_raster(path, samples, names=BANDS)
    report = check_dataset(config, ('train',))
    training = report.splits[0].summary
    assert len(training.images) == 4
    deviation = np.abs(255 - training.mean) / training.std
    warned = [w for w in report.splits[0].warnings if 'all bands are 255 in 50 %' in w]
    assert len(warned) == int((deviation > 2.5).all())

"""The check of a data set, as a user starts it."""

import numpy as np
from mmengine.config import Config

from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, run


def test_check_reports_everything_wrong(data_root, tmp_path):
    config = ROOT / 'configs/dnas/dnas_l14_gid5.py'
    command = (ROOT / 'tools/analysis_tools/check_dataset.py', config, '--data-root', data_root)
    code, output = run(*command)
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
    code, output = run(*command)
    assert code == 1
    assert 't_3_0.png: label values 7 (4 pixels) are unknown' in output
    assert 't_1_0.tif: 5 bands, expected 4' in output

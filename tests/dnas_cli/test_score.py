"""Command `dnas score`."""

import json

import numpy as np
import pytest

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.evaluation import compute_scores, confusion_matrix
from dnas_mmseg.raster import GeoReference, read_raster, write_raster

from ..conftest import ROOT, run
from ..mapping.conftest import pair


def test_scores_per_scene_and_overall(tmp_path, rng):
    matrices = []
    for name in ('a', 'b'):
        truth, classes = pair(tmp_path, rng, name, height=200)
        colours = np.zeros((3, *truth.shape), np.uint8)
        for i, colour in enumerate(PALETTE):
            colours[:, truth == i] = np.array(colour)[:, None]
        write_raster(tmp_path / f'labels/{name}_label.tif', colours)
        matrices.append(confusion_matrix(np.where(classes == 255, 255, truth), classes, 5))
    code, output = run(
        ROOT / 'tools/analysis_tools/score_maps.py', ROOT / 'configs/dnas/dnas_l12_gid5.py',
        tmp_path / 'maps', tmp_path / 'labels', '--label-suffix', '_label',
    )  # fmt: skip
    assert code == 0, output
    assert '800 labelled pixels have no class' in output
    written = json.loads((tmp_path / 'maps/scores.json').read_text())
    assert set(written) == {'a', 'b', 'all scenes'}
    total = sum(matrices)
    assert written['all scenes']['confusion'] == total.tolist()
    assert written['all scenes']['classes'] == list(CLASSES)
    for name, matrix in (('a', matrices[0]), ('b', matrices[1]), ('all scenes', total)):
        assert written[name]['mIoU'] == pytest.approx(compute_scores(matrix)['mIoU'], abs=1e-6)
    assert (tmp_path / 'maps/confusion.png').stat().st_size > 5000


def test_a_config_without_classes_is_refused(tmp_path):
    (tmp_path / 'model.py').write_text('model = dict()\n')
    code, output = run(
        ROOT / 'tools/analysis_tools/score_maps.py', tmp_path / 'model.py', tmp_path, tmp_path
    )
    assert code == 1
    assert 'model.py defines no classes: set test_dataloader.dataset.metainfo' in output
    assert 'Traceback' not in output


def test_maps_without_a_label_are_skipped_and_misaligned_labels_refused(tmp_path, rng):
    for name in ('a', 'b'):
        truth, _ = pair(tmp_path, rng, name, height=150)
    write_raster(tmp_path / 'labels/a.png', truth)
    command = (
        ROOT / 'tools/analysis_tools/score_maps.py', ROOT / 'configs/dnas/dnas_l14_gid5.py',
        tmp_path / 'maps', tmp_path / 'labels', '--label-convention', 'train_id',
    )  # fmt: skip
    code, output = run(*command)
    assert code == 0, output
    assert 'note: 1 of 2 maps have no label' in output
    classes = read_raster(tmp_path / 'maps/a.tif')
    place = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (0.0, 2.0, 0.0, 0.0, 0.0, -2.0))
    write_raster(tmp_path / 'maps/a.tif', classes, georeference=place)
    (tmp_path / 'labels/a.png').unlink()
    write_raster(tmp_path / 'labels/a.tif', truth, georeference=place.moved(64, 0))
    code, output = run(*command)
    assert code == 1
    assert 'it is shifted by +64.0 rows and +0.0 columns' in output
    (tmp_path / 'labels/a.tif').unlink()
    write_raster(tmp_path / 'labels/z.tif', truth)
    code, output = run(*command)
    assert code == 1
    assert 'none of the 2 maps has a label' in output

"""Scores of maps of several scenes."""

import json

import numpy as np
import pytest

from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.mapping.scoring import OVERALL, score_maps
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.raster import write_raster


def test_overall_scores_count_pixels_and_are_no_mean_of_scenes(tmp_path):
    """One scene of 30,000 correct pixels, one of 10,000 wrong ones; some are not scored."""
    sizes = {'large': ((100, 300), 0), 'small': ((100, 100), 1)}
    scenes = []
    for name, (size, predicted) in sizes.items():
        classes, truth = np.full(size, predicted, np.uint8), np.zeros(size, np.uint8)
        if name == 'large':
            classes[:, 250:] = 255
            truth[0, :5] = 77
        scenes.append(Scene(name, tmp_path / f'{name}.tif', tmp_path / f'{name}.png'))
        write_raster(scenes[-1].image, classes)
        write_raster(scenes[-1].label, truth)
    steps = []
    results, notes = score_maps(
        scenes, ['a', 'b', 'c'], LabelEncoding('train_id', 3), tmp_path / 'out',
        lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert list(results) == ['large', 'small', OVERALL]
    assert [results[name]['OA'] for name in results] == pytest.approx([1, 0, 24_995 / 34_995])
    assert steps == [(1, 2), (2, 2)]
    first, second = notes
    assert first.startswith('large: unknown label values are treated as unlabelled')
    assert '77 (5 pixels)' in first
    assert second == '5000 labelled pixels have no class in the maps and are not scored'
    written = json.loads((tmp_path / 'out/scores.json').read_text())
    assert written[OVERALL]['confusion'] == [[24_995, 10_000, 0], [0, 0, 0], [0, 0, 0]]
    assert written[OVERALL]['unmapped'] == 5000
    assert written[OVERALL]['IoU'] == [pytest.approx(24_995 / 34_995, abs=1e-6), 0, None]
    assert (tmp_path / 'out/confusion.png').stat().st_size > 5000

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS

from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import compute_scores, confusion_matrix


def test_confusion_matrix_ignores_unlabelled_pixels():
    label = np.array([[0, 0, 1], [1, 2, 255]])
    prediction = np.array([[0, 1, 1], [1, 0, 2]])
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    np.testing.assert_array_equal(confusion_matrix(label, prediction, 3), expected)
    assert confusion_matrix(np.full((2, 2), 255), np.zeros((2, 2), int), 3).sum() == 0


def test_scores_by_hand():
    computed = compute_scores(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))
    np.testing.assert_allclose(computed['IoU'], [6 / 9, 3 / 6, np.nan])
    assert computed['mIoU'] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert computed['OA'] == pytest.approx(9 / 12)
    assert computed['mAcc'] == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert computed['FWIoU'] == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)
    chance = (8 * 7 + 4 * 5) / 144
    assert computed['kappa'] == pytest.approx((9 / 12 - chance) / (1 - chance))


def test_scores_without_labels_are_nan():
    assert np.isnan(compute_scores(np.zeros((3, 3), int))['mIoU'])


def test_the_metric_agrees_with_mmseg(rng):
    classes = ('a', 'b', 'c', 'd')
    ours = METRICS.build(dict(type='ConfusionMetric'))
    theirs = METRICS.build(dict(type='IoUMetric', iou_metrics=['mIoU']))
    samples = []
    for _ in range(3):
        label = torch.from_numpy(rng.integers(0, 4, (1, 20, 20)))
        label[0, :3] = 255
        prediction = torch.where(
            torch.rand(1, 20, 20) < 0.6,
            label % 4,
            torch.from_numpy(rng.integers(0, 4, (1, 20, 20))),
        )
        samples.append(dict(gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=prediction)))
    for metric in (ours, theirs):
        metric.dataset_meta = dict(classes=classes)
        metric.process({}, samples)
    own, stock = ours.evaluate(3), theirs.evaluate(3)
    assert own['mIoU'] == pytest.approx(stock['mIoU'], abs=0.011)
    assert own['OA'] == pytest.approx(stock['aAcc'], abs=0.011)
    assert own['mAcc'] == pytest.approx(stock['mAcc'], abs=0.011)
    assert np.mean([own[f'IoU.{name}'] for name in classes]) == pytest.approx(own['mIoU'], abs=0.02)


def test_predictions_of_other_classes_are_refused():
    label, prediction = np.array([0, 255, 4]), np.array([5, 9, 1])
    with pytest.raises(UserError, match='predicts class 5, but the data have 5 classes'):
        confusion_matrix(label, prediction, 5)
    assert confusion_matrix(label[1:], prediction[1:], 5).sum() == 1

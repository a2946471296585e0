"""The metric of every config: one confusion matrix, all scores from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from .scores import confusion_matrix, scores


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """mIoU, OA, mAcc, FWIoU, kappa and every class's IoU, in percent (kappa too).

    Beside the stock ``IoUMetric`` it has the paper's FWIoU, and per-class IoU as values that
    loggers and hooks can use, not only in a printed table.

    Args:
        collect_device: Where results of several processes are gathered.
        prefix: Put before the names of the scores.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            label = sample['gt_sem_seg']['data'].squeeze(0).cpu().numpy()
            self.results.append(confusion_matrix(label, prediction, num_classes))

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Scores over all images; also logged as a table by class."""
        computed = scores(np.sum(results, axis=0))
        classes = self.dataset_meta['classes']
        table = PrettyTable(['class', 'IoU', 'Acc'])
        for name, iou, recall in zip(classes, computed['IoU'], computed['Acc'], strict=True):
            table.add_row([name, f'{100 * iou:.2f}', f'{100 * recall:.2f}'])
        print_log(f'per class:\n{table.get_string()}', logger='current')
        result = {
            name: round(100 * computed[name], 2)
            for name in ('mIoU', 'OA', 'mAcc', 'FWIoU', 'kappa')
        }
        for name, iou in zip(classes, computed['IoU'], strict=True):
            result[f'IoU.{name}'] = round(100 * float(iou), 2)
        return result

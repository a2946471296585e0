"""mmengine metric that computes all scores from one confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import raster_stem, write_raster

from .scores import compute_scores, confusion_matrix

_TOTALS = ('mIoU', 'OA', 'mAcc', 'FWIoU', 'kappa')


@METRICS.register_module()
class ConfusionMetric(BaseMetric):
    """Compute mIoU, OA, mAcc, FWIoU, kappa and the IoU of each class, all in percent.

    Compared with mmseg's ``IoUMetric``, it adds FWIoU and kappa, and returns the IoU of each class
    as a value for loggers and hooks. See :func:`compute_scores` for the definitions.

    With ``count_once`` of the data set, each labelled pixel of a scene counts once even if tiles
    overlap.

    Args:
        by_scene: Whether to also log a table by scene, for tiles ``<scene>_<row>_<column>``.
        output_dir: Folder for predictions, ``<image>.png`` with train ids and the data set's
            palette; by default none are written.
        collect_device: Device on which the results of several processes are gathered.
        prefix: Prefix of the score names.
    """

    default_prefix = ''  # None would make mmengine warn

    def __init__(
        self, by_scene: bool = False, output_dir: str | os.PathLike | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.by_scene = by_scene
        self.output_dir = None if output_dir is None else Path(output_dir)
        self._written: dict[str, str] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Add the confusion matrices of a batch."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            # For binary heads, mmseg returns a floating-point mask.
            prediction = sample['pred_sem_seg']['data'].squeeze(0).long().cpu().numpy()
            label = sample['gt_sem_seg']['data'].squeeze(0).cpu().numpy()
            place = parse_tile_name(sample.get('img_path') or '') if self.by_scene else None
            scene = None if place is None else place[0]
            if self.output_dir is not None:
                target = self.output_dir / f'{self._name(sample["img_path"])}.png'
                palette = self.dataset_meta.get('palette')
                write_raster(target, prediction.astype(np.uint8), palette=palette)
            self.results.append((scene, confusion_matrix(label, prediction, num_classes)))

    def _name(self, path: str) -> str:
        """Return the file stem of an image's prediction, which must be unique."""
        name = raster_stem(path)
        if self._written.setdefault(name, path) != path:
            raise UserError(
                f'predictions of {path} and {self._written[name]} would both be written to '
                f'{name}.png: rename one of the images'
            )
        return name

    def compute_metrics(self, results: list[tuple[str | None, np.ndarray]]) -> dict[str, float]:
        """Return the scores over all images, and log IoU and recall by class."""
        if self.by_scene:
            self._log_scenes(results)
        computed = compute_scores(np.sum([matrix for _, matrix in results], axis=0))
        classes = self.dataset_meta['classes']
        table = PrettyTable(['class', 'IoU', 'Acc'])
        for name, iou, recall in zip(classes, computed['IoU'], computed['Acc'], strict=True):
            table.add_row([name, f'{100 * iou:.2f}', f'{100 * recall:.2f}'])
        print_log(f'per class:\n{table.get_string()}', logger='current')
        result = {name: round(100 * computed[name], 2) for name in _TOTALS}
        for name, iou in zip(classes, computed['IoU'], strict=True):
            result[f'IoU.{name}'] = round(100 * float(iou), 2)
        return result

    def _log_scenes(self, results: list[tuple[str | None, np.ndarray]]) -> None:
        scenes: dict[str, np.ndarray] = {}
        for scene, matrix in results:
            if scene is not None:
                scenes[scene] = scenes.get(scene, 0) + matrix
        if not scenes:
            return
        table = PrettyTable(['scene', *_TOTALS, *self.dataset_meta['classes']])
        for scene in sorted(scenes):
            computed = compute_scores(scenes[scene])
            values = (*(computed[name] for name in _TOTALS), *computed['IoU'])
            table.add_row([scene, *(f'{100 * value:.2f}' for value in values)])
        print_log(f'per scene, percent:\n{table.get_string()}', logger='current')

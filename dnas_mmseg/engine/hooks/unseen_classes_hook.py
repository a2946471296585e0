"""Hook that warns about classes without training pixels."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop


@HOOKS.register_module()
class UnseenClassesHook(Hook):
    """Warn once about classes that do not occur in the training labels.

    The hook counts the labels after the pipeline, over the first epoch. In an iteration-based run
    it counts over the length of the loader, but at least ``min_iterations``. It is inactive in
    resumed runs, uses no random numbers and stores nothing in checkpoints.

    Args:
        min_iterations: Minimum number of iterations to count in an iteration-based run.
    """

    def __init__(self, min_iterations: int = 1000) -> None:
        self.min_iterations = min_iterations
        self._seen: torch.Tensor | None = None

    def before_train(self, runner) -> None:
        metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        self._classes = tuple(metainfo.get('classes') or ())
        is_new = runner.iter == 0 and bool(self._classes)
        self._seen = torch.zeros(len(self._classes), dtype=torch.int64) if is_new else None
        self._by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        self._last = max(self.min_iterations, len(runner.train_dataloader))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._seen is None:
            return
        # Usually the first batches contain every class; later ones need not be counted.
        if not self._seen.all():
            for sample in (data_batch or {}).get('data_samples') or ():
                if 'gt_sem_seg' in sample:
                    self._count(self._seen, sample.gt_sem_seg.data)
        if not self._by_epoch and runner.iter + 1 >= self._last:
            self._report(runner, self._seen, f'first {runner.iter + 1} iterations')

    def after_train_epoch(self, runner) -> None:
        if self._seen is not None:
            # An iteration-based run may end before the full count.
            done = 'first epoch' if self._by_epoch else f'{runner.iter} iterations'
            self._report(runner, self._seen, done)

    def _count(self, seen: torch.Tensor, label: torch.Tensor) -> None:
        counts = torch.bincount(label.flatten().to(torch.int64), minlength=len(self._classes))
        seen += counts[: len(self._classes)].cpu()

    def _report(self, runner, seen: torch.Tensor, when: str) -> None:
        self._seen = None
        all_reduce(seen)
        unseen = [name for name, count in zip(self._classes, seen, strict=True) if not count]
        if not unseen:
            return
        names = ', '.join(f"'{name}'" for name in unseen)
        hint = ''
        if len(self._classes) == 2:
            hint = '. For two classes, labels must be 0 and 1: 255 means unlabelled'
        runner.logger.warning(
            f'{"class" if len(unseen) == 1 else "classes"} {names} did not occur in the training '
            f'labels of the {when} and cannot be learned (`dnas check CONFIG` counts the '
            f'labels){hint}'
        )

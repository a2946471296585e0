"""Hook that warns early of classes that no training label holds."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop


@HOOKS.register_module()
class UnseenClassesHook(Hook):
    """Warn once of classes that never occurred in the labels trained on.

    The hook looks at the labels as the pipeline yields them, in the first epoch. In a run by
    iterations it looks at as many as show each tile once on average, but at least
    ``min_iterations``. A resumed run does not see its beginning, so there the hook is silent. It
    draws no random numbers and keeps nothing in checkpoints.

    Args:
        min_iterations: Least number of iterations to look at, in a run by iterations.
    """

    def __init__(self, min_iterations: int = 1000) -> None:
        self.min_iterations = min_iterations
        self._seen: torch.Tensor | None = None

    def before_train(self, runner) -> None:
        facts = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        self._classes = tuple(facts.get('classes') or ())
        fresh = runner.iter == 0 and bool(self._classes)
        self._seen = torch.zeros(len(self._classes), dtype=torch.int64) if fresh else None
        self._by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        self._last = max(self.min_iterations, len(runner.train_dataloader))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._seen is None:
            return
        # Usually the first batches hold every class, and nothing is left to count.
        if not self._seen.all():
            for sample in (data_batch or {}).get('data_samples') or ():
                if 'gt_sem_seg' in sample:
                    self._count(self._seen, sample.gt_sem_seg.data)
        if not self._by_epoch and runner.iter + 1 >= self._last:
            self._report(runner, self._seen, f'first {runner.iter + 1} iterations')

    def after_train_epoch(self, runner) -> None:
        if self._seen is not None:
            # A run by iterations may also end before it has shown each tile.
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
        named = ', '.join(f"'{name}'" for name in unseen)
        hint = ''
        if len(self._classes) == 2:
            hint = (
                '. Where labels are 0 and 255 for two classes, remember that 255 means unlabelled: '
                'the second class is 1'
            )
        runner.logger.warning(
            f'{"class" if len(unseen) == 1 else "classes"} {named} never occurred in the training '
            f'labels of the {when}: nothing is learned of {"it" if len(unseen) == 1 else "them"} '
            f'(`dnas check CONFIG` counts the labels){hint}'
        )

"""Atomic writing of checkpoints, and validated resuming."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS

from dnas_mmseg.engine.checkpoints import (
    CHECKSUM,
    POINTER,
    SCORE,
    find_usable_checkpoint,
    read_checkpoint,
    record_validation,
    tensor_checksum,
)
from dnas_mmseg.engine.distributed import average_buffers
from dnas_mmseg.engine.training_record import describe_differences, training_record
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_text

_RECORD = 'training'
"""Key in a checkpoint's ``meta`` that holds the settings of the training run."""


def _record(runner) -> str:
    loader = runner.train_dataloader
    dataset = loader.get('dataset') if isinstance(loader, dict) else loader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    iterations = None if isinstance(loader, dict) else len(loader)
    return training_record(runner.cfg, classes, iterations)


def _average_buffers(runner) -> None:
    average_buffers(runner.model)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            average_buffers(hook.ema_model)


class AtomicLocalBackend(LocalBackend):
    """Local file backend that writes to a temporary file and renames it."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes to a file atomically."""
        with atomic_path(filepath) as temporary:
            temporary.write_bytes(obj)


register_backend('atomic_local', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Save checkpoints atomically and validate them on resuming.

    Compared with :class:`mmengine.hooks.CheckpointHook`:

    - A checkpoint is written to a temporary file and renamed; only then is the outdated one
      deleted. The stock hook deletes first and writes in place: a full disk or a kill in between
      loses both. Checkpoints are written to local disk.
    - ``validation.json`` has the last and the best validation score, from which
      :func:`dnas_mmseg.engine.checkpoints.find_checkpoint` notices that a training run got worse.
    - A checkpoint stores a checksum of its tensors. On resuming, damaged checkpoints are reported
      and skipped; training starts from scratch if none is intact.
    - A checkpoint stores the model, optimizer, schedule, classes and iterations per epoch of its
      training run. Resuming with other settings raises an error.
    - In distributed training, the buffers of the model and of its ``EMAHook`` are averaged over the
      processes before each validation and each checkpoint. Otherwise every process would validate
      with its own batch-norm statistics, of which only those of the first one are saved.
    - A work dir may be moved or copied: its checkpoints are found by name. The stock hook stores
      absolute paths, so a resumed copy would delete the best checkpoint of the original.

    Args:
        *args: Arguments of :class:`mmengine.hooks.CheckpointHook`.
        min_seconds: Least number of seconds between the checkpoints of epochs, for runs in a single
            process; the last epoch is always saved, also if the training stops early.
        **kwargs: Further arguments of :class:`mmengine.hooks.CheckpointHook` except
            ``backend_args``.
    """

    def __init__(self, *args, min_seconds: float = 0.0, **kwargs) -> None:
        self.min_seconds, self._saved = min_seconds, time.monotonic()
        self._saved_step: int | None = None
        super().__init__(*args, backend_args=dict(backend='atomic_local'), **kwargs)

    def before_run(self, runner) -> None:
        """Resume from the newest intact checkpoint of the work dir.

        Raises:
            UserError: The checkpoint belongs to another training run; the message lists the
                differences.
        """
        # mmengine uses the path in `last_checkpoint` as is and has no public setting for another.
        if runner._resume and runner._load_from is None:
            found, problems = find_usable_checkpoint(runner.work_dir)
            for problem in problems:
                start = 'starting from scratch' if found is None else f'using {found.name} instead'
                runner.logger.warning(f'{problem}; {start}')
            runner._resume = found is not None
            runner._load_from = None if found is None else str(found)
        if runner._resume and os.path.isfile(runner._load_from):
            # Compare before any other hook loads its part of the checkpoint.
            self._compare(runner, read_checkpoint(runner._load_from).get('meta', {}))

    def _compare(self, runner, meta: Mapping[str, Any]) -> None:
        """Reject a checkpoint of another training run."""
        if meta.get(_RECORD) is None:
            return
        differences = describe_differences(meta[_RECORD], _record(runner))
        if differences:
            raise UserError(
                f'{runner.work_dir}: the config differs from that of the training run to resume: '
                f'{differences}. Undo the changes; or start a new training run from these weights '
                f'with another --work-dir and --cfg-options load_from={runner._load_from}'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the training settings and a checksum, after other hooks changed the weights."""
        checkpoint['meta'][_RECORD] = _record(runner)
        checkpoint['meta'][CHECKSUM] = tensor_checksum(checkpoint)

    def before_train(self, runner) -> None:
        """Set up the hook, and look up the best checkpoint in this run's own folder."""
        super().before_train(runner)
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path: str | None = self._rebase(self.best_ckpt_path)
        else:
            for key, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[key] = self._rebase(path)

    def before_val_epoch(self, runner) -> None:
        """Let all processes validate the same model, which is the one that is saved."""
        _average_buffers(runner)

    def after_train_epoch(self, runner) -> None:
        """Save a checkpoint, unless the last one was saved a short time ago."""
        recent = time.monotonic() - self._saved < self.min_seconds
        if recent and not self.is_last_train_epoch(runner):
            return
        super().after_train_epoch(runner)

    def after_train(self, runner) -> None:
        """Save a checkpoint if the training stopped early, between two checkpoints."""
        done, total = (
            (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        )
        if 0 < done < total and self._saved_step != done:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, done, meta)
        super().after_train(runner)

    def _rebase(self, path: str | None) -> str | None:
        """Move a stored path to this run's folder."""
        return None if path is None else str(Path(self.out_dir) / Path(path).name)

    # Overrides a private method: mmengine's removes the outdated checkpoint before it writes, and
    # opens `last_checkpoint` in place. Only the writing itself uses the file backend.
    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Write the checkpoint of a step, update the pointer, then delete outdated checkpoints."""
        _average_buffers(runner)
        steps: deque[int] = getattr(self, 'keep_ckpt_ids', deque())
        outdated = []
        if self.max_keep_ckpts > 0 and (not steps or steps[-1] != step):
            outdated = [steps.popleft()] if len(steps) == self.max_keep_ckpts else []
            steps.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(steps))
        name = self.filename_tmpl.format(step)
        self._saved, self._saved_step = time.monotonic(), step
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_text(
                Path(runner.work_dir) / POINTER, os.path.relpath(self.last_ckpt, runner.work_dir)
            )
            for old in outdated:
                (Path(self.out_dir) / self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        """Write the new best checkpoint, then delete the one it replaces."""
        if not self.save_best or not hasattr(self, 'file_backend'):
            return  # runner.val() without training has no best epoch
        with self._deferred_removals():
            super()._save_best_checkpoint(runner, metrics)
        is_scored = self.key_indicators == [SCORE] and SCORE in metrics
        if is_scored and is_main_process() and self.best_ckpt_path is not None:
            best = runner.message_hub.get_info('best_score')
            name = os.path.relpath(self.best_ckpt_path, runner.work_dir)
            record_validation(runner.work_dir, metrics[SCORE], best, name)

    @contextmanager
    def _deferred_removals(self) -> Iterator[None]:
        """Defer the backend's removals to the end; skip them after an exception."""
        backend = self.file_backend
        deferred: list[str | os.PathLike] = []
        backend.remove = deferred.append  # shadows the method on this instance
        try:
            yield
        finally:
            del backend.remove
        # After a resume, a better score in the same epoch overwrites the file to be removed.
        current = {str(path) for path in self._best_paths()}
        for path in deferred:
            if str(path) not in current:
                backend.remove(path)

    def _best_paths(self) -> list:
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return list(self.best_ckpt_path_dict.values())

"""Checkpoints that are whole or absent."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

from dnas_mmseg.engine.checkpoints import (
    CHECKSUM,
    POINTER,
    find_usable_checkpoint,
    read_checkpoint,
    tensor_checksum,
)
from dnas_mmseg.engine.training_record import describe_differences, training_record
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_text

_RECORD = 'training'
"""Key of a checkpoint's ``meta`` with the record of its training."""


def _record(runner) -> str:
    loader = runner.train_dataloader
    dataset = loader.get('dataset') if isinstance(loader, dict) else loader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return training_record(runner.cfg, classes)


class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their names only when they are completely written."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes."""
        with atomic_path(filepath) as temporary:
            temporary.write_bytes(obj)


register_backend('atomic_local', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """:class:`CheckpointHook` that never leaves a run without a whole checkpoint.

    The stock hook deletes the outdated checkpoint first and then writes the new one in place: a
    full disk or a kill in between costs both. This one writes beside, renames, and only then
    deletes. Checkpoints go to local disk.

    A checkpoint carries a checksum of its tensors. A damaged one is named when a training resumes,
    and an older one is taken, or the training starts from scratch.

    A checkpoint also says what its training is (model, optimizer, schedule, classes). Resuming with
    something else is refused, in one line.

    A work dir may be moved or copied: its checkpoints are found by name in it, where the stock hook
    stores absolute paths, and a resumed copy would delete the best checkpoint of the original.

    Args:
        *args: Arguments of :class:`mmengine.hooks.CheckpointHook`.
        **kwargs: Further arguments of :class:`mmengine.hooks.CheckpointHook`; ``backend_args`` is
            set here.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, backend_args=dict(backend='atomic_local'), **kwargs)

    def before_run(self, runner) -> None:
        """Let a runner that resumes start from the last whole checkpoint of its work dir.

        Raises:
            UserError: The checkpoint is of another training; the message names what differs.
        """
        # mmengine takes the text in the file for a path, and has no public place to say another.
        if runner._resume and runner._load_from is None:
            found, problems = find_usable_checkpoint(runner.work_dir)
            for problem in problems:
                begin = (
                    'training starts from scratch' if found is None else f'{found.name} is taken'
                )
                runner.logger.warning(f'{problem}; {begin}')
            runner._resume = found is not None
            runner._load_from = None if found is None else str(found)
        if runner._resume and os.path.isfile(runner._load_from):
            # Before anything is loaded: other hooks load their own parts of it.
            self._compare(runner, read_checkpoint(runner._load_from).get('meta', {}))

    def _compare(self, runner, meta: Mapping[str, Any]) -> None:
        """Refuse to resume another training."""
        if meta.get(_RECORD) is None:
            return
        differences = describe_differences(meta[_RECORD], _record(runner))
        if differences:
            raise UserError(
                f'{runner.work_dir}: the config is not that of the training to resume. What '
                f'differs: {differences}. Change it back; or begin a new training from these '
                f'weights: another --work-dir, and --cfg-options load_from={runner._load_from}'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store what the training is, and a checksum; other hooks have changed the weights."""
        checkpoint['meta'][_RECORD] = _record(runner)
        checkpoint['meta'][CHECKSUM] = tensor_checksum(checkpoint)

    def before_train(self, runner) -> None:
        """Prepare, and look for the best checkpoint in this run's own folder."""
        super().before_train(runner)
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path: str | None = self._here(self.best_ckpt_path)
        else:
            for key, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[key] = self._here(path)

    def _here(self, path: str | None) -> str | None:
        """Return a path of the stored state as one in this run's folder."""
        return None if path is None else str(Path(self.out_dir) / Path(path).name)

    # mmengine has no public place for either: the method below removes before it writes and opens
    # `last_checkpoint` in place, and what it calls knows neither the order nor the old file. Only
    # the writing itself goes through a file backend, which is ours.
    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Write the checkpoint of a step, point to it, then delete those that are too old."""
        known: deque[int] = getattr(self, 'keep_ckpt_ids', deque())
        outdated = []
        if self.max_keep_ckpts > 0 and (not known or known[-1] != step):
            outdated = [known.popleft()] if len(known) == self.max_keep_ckpts else []
            known.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(known))
        name = self.filename_tmpl.format(step)
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
            return  # a validation without training, by runner.val(), has no best epoch
        with self._removals_put_off():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removals_put_off(self) -> Iterator[None]:
        """Carry out the backend's removals at the end, and only if all went well."""
        backend = self.file_backend
        put_off: list[str | os.PathLike] = []
        backend.remove = put_off.append  # shadows the method on this instance
        try:
            yield
        finally:
            del backend.remove
        # A better score in the same epoch, after a resume, replaces the file it would remove.
        current = {str(path) for path in self._best_paths()}
        for path in put_off:
            if str(path) not in current:
                backend.remove(path)

    def _best_paths(self) -> list:
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return list(self.best_ckpt_path_dict.values())

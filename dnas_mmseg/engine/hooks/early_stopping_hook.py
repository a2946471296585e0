"""Early stopping of runs that resume."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EarlyStoppingHook
from mmengine.registry import HOOKS

_STATE = 'early_stopping'
"""Key of the state in a checkpoint."""


@HOOKS.register_module()
class ResumableEarlyStoppingHook(EarlyStoppingHook):
    """:class:`mmengine.hooks.EarlyStoppingHook` whose best score and count survive a resume.

    The stock hook counts from zero after a resume, so that a resumed run trains longer than an
    uninterrupted one.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Store the best score and the number of validations since then."""
        checkpoint[_STATE] = [float(self.best_score), int(self.wait_count)]

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Restore them, if the run resumes from the checkpoint."""
        if runner._resume and _STATE in checkpoint:
            self.best_score, self.wait_count = checkpoint[_STATE]

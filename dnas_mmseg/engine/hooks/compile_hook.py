"""Compiled training steps."""

from __future__ import annotations

import logging
import warnings
from typing import Any
from unittest.mock import patch

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmseg.models.decode_heads import decode_head
from torch import Tensor
from torch.utils._pytree import tree_map


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the forward and backward passes of training steps, the losses included.

    A step of a small network consists of hundreds of short kernels, and a GPU waits for the program
    to launch them. With ``mode='reduce-overhead'`` torch records them as CUDA graphs, which are
    launched at once. The first step takes a minute longer. A model is trained without, with a
    warning, if its forward pass and losses are not a single graph, or if they would be recompiled
    more often than torch allows (``torch._dynamo.config.cache_size_limit``, 8), as for inputs
    of many sizes; a failure in the backward pass ends the training. Validation and the optimizer
    are not compiled.

    Args:
        backend: Backend of :func:`torch.compile`.
        mode: Its mode; None for backends without modes.
    """

    def __init__(self, backend: str = 'inductor', mode: str | None = 'reduce-overhead') -> None:
        self.backend, self.mode = backend, mode

    def before_train(self, runner) -> None:
        """Replace the loss of the model by a compiled one."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.compile(model, runner.logger)

    def compile(self, model: Any, logger: logging.Logger) -> None:
        """Replace the loss of a model by a compiled one.

        Args:
            model: An encoder-decoder.
            logger: Logger of the warning if the model cannot be compiled.
        """
        self._model, self._logger, self._eager = model, logger, model.loss
        torch._dynamo.config.reorderable_logging_functions.add(warnings.warn)  # of mmseg's resize
        # Without `fullgraph`, what cannot be captured would run between several graphs, and models
        # compiled too often without any, both silently.
        self._compiled = torch.compile(
            self._losses, backend=self.backend, mode=self.mode, dynamic=False, fullgraph=True
        )
        model.loss = self._loss

    def after_train(self, runner) -> None:
        """Restore the loss of the model."""
        self.restore()

    def restore(self) -> None:
        """Restore the loss of the model, and release compiled code and its memory."""
        del self._model.loss, self._model, self._eager, self._compiled
        torch._dynamo.reset()  # its limit of compilations is one of the process

    def _loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        try:
            labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
            torch.compiler.cudagraph_mark_step_begin()
            # mmseg's accuracy selects the labelled pixels: their number would end the graph.
            with patch.object(decode_head, 'accuracy', pixel_accuracy):
                losses = self._compiled(inputs, labels)
            # The graph writes the next losses to the same memory.
            return tree_map(lambda loss: loss.clone(), losses)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise anything
            # What `fullgraph` forbids is the cause of torch's error.
            reason = ' '.join(str(error.__cause__ or error).split())[:300]
        losses = self._eager(inputs, data_samples)  # raises errors of the model itself
        self._logger.warning(f'--compile: training continues without it ({reason})')
        self._model.loss = self._eager
        return losses

    def _losses(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses as a function of tensors, which a compiler can follow."""
        return self._eager(inputs, [_Sample(label) for label in labels])


class _Label:
    def __init__(self, data: Tensor) -> None:
        self.data = data


class _Sample:
    """The part of a ``SegDataSample`` that losses read."""

    def __init__(self, label: Tensor) -> None:
        self.gt_sem_seg = _Label(label)


def pixel_accuracy(logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Return the percentage of labelled pixels with the right class, as mmseg's ``accuracy``.

    Args:
        logits: Logits, (N, classes, H, W).
        label: Train ids, (N, H, W).
        ignore_index: Label of unlabelled pixels.

    Returns:
        Percentage, (1,).
    """
    labelled = label != ignore_index
    hits = ((logits.argmax(1) == label) & labelled).sum()
    tiny = torch.finfo(torch.float32).eps
    return (100.0 * (hits + tiny) / (labelled.sum() + tiny)).reshape(1)

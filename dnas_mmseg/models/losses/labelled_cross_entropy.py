"""Cross entropy averaged over labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LabelledCrossEntropyLoss(nn.Module):
    """Cross entropy averaged over labelled pixels only; 0 where nothing is labelled.

    Without class weights it is mmseg's ``CrossEntropyLoss(avg_non_ignore=True)``. With them the
    stock one fails on ignored pixels, on both stacks; this one is the weighted mean that
    :func:`torch.nn.functional.cross_entropy` defines.

    Args:
        class_weight: A weight for each class.
        loss_weight: Factor of the loss.
        loss_name: Its name in the log; ``loss_`` makes it count.
    """

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
    ) -> None:
        super().__init__()
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float)
        self.register_buffer('class_weight', weights, persistent=False)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (N, classes, H, W).
            label: (N, H, W), train ids.
            weight: (N, H, W), a weight for each pixel, from a pixel sampler.
            ignore_index: The label of unlabelled pixels.
            reduction_override: ``'none'`` for every pixel's loss, as samplers ask for it.

        Returns:
            Scalar, or (N, H, W).
        """
        losses = F.cross_entropy(
            logits, label, self.class_weight, ignore_index=ignore_index, reduction='none'
        )
        if weight is not None:
            losses = losses * weight
        if reduction_override == 'none':
            return self.loss_weight * losses
        labelled = label != ignore_index
        if self.class_weight is None:
            total = labelled.sum()
        else:
            total = self.class_weight[label[labelled]].sum()
        return self.loss_weight * losses.sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)

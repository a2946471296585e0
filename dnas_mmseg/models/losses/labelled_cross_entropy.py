"""Cross entropy averaged over labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.errors import UserError


@MODELS.register_module()
class LabelledCrossEntropyLoss(nn.Module):
    """Cross entropy averaged over labelled pixels only; 0 where nothing is labelled.

    Without class weights it is mmseg's ``CrossEntropyLoss(avg_non_ignore=True)``. With them the
    stock one fails on ignored pixels, on both stacks; this one is the weighted mean that
    :func:`torch.nn.functional.cross_entropy` defines.

    For a binary head (mmseg: ``num_classes=2, out_channels=1``), whose one logit is that of the
    second class, it is the binary cross entropy.

    Args:
        class_weight: Weights of the classes, (classes,); None weighs all the same.
        use_sigmoid: Whether the head is binary, as mmseg's users write it; the loss sees that from
            the logits, and only checks it.
        loss_weight: Factor of the loss.
        loss_name: Name of the loss in the log; ``loss_`` makes it count.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        use_sigmoid: bool | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
    ) -> None:
        super().__init__()
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float)
        self.register_buffer('class_weight', weights, persistent=False)
        self.use_sigmoid = use_sigmoid
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
        """Return the loss of a batch.

        Args:
            logits: Logits, (N, classes, H, W); (N, 1, H, W) of a binary head.
            label: Train ids, (N, H, W).
            weight: Weights of the pixels, (N, H, W), from a pixel sampler.
            ignore_index: Label of unlabelled pixels.
            reduction_override: Reduction, ``'none'`` for the loss of every pixel.

        Returns:
            Loss, a scalar, or (N, H, W) without reduction.

        Raises:
            UserError: ``use_sigmoid`` does not fit the head.
        """
        if self.use_sigmoid is not None and self.use_sigmoid != (logits.shape[1] == 1):
            raise UserError(
                f'use_sigmoid={self.use_sigmoid} of LabelledCrossEntropyLoss: the head has '
                f'{logits.shape[1]} output channels. A sigmoid is for num_classes=2, '
                'out_channels=1; leave use_sigmoid out otherwise'
            )
        logits = expand_binary_logits(
            logits
        ).float()  # sums over pixels leave half precision's range
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


def expand_binary_logits(logits: Tensor) -> Tensor:
    """Return logits of two classes for the one logit of a binary head; others as they are.

    The first class's logit is 0: the softmax of the two is the sigmoid of the one.
    """
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

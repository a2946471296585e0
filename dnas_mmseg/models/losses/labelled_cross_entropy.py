"""Cross entropy averaged over labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.classes import NO_CLASS
from dnas_mmseg.errors import UserError


@MODELS.register_module()
class LabelledCrossEntropyLoss(nn.Module):
    """Compute the cross entropy averaged over labelled pixels; 0 for a batch without labels.

    Without class weights, it equals mmseg's ``CrossEntropyLoss(avg_non_ignore=True)``. With class
    weights, the stock loss fails on ignored pixels; this one is the weighted mean defined by
    :func:`torch.nn.functional.cross_entropy`.

    For a binary head (``num_classes=2, out_channels=1``), whose logit is that of the second class,
    it is the binary cross entropy.

    Args:
        class_weight: Weights of the classes, (classes,); by default all equal.
        use_sigmoid: Whether the head is binary, as in mmseg's configs. It is only checked: the loss
            derives it from the shape of the logits.
        loss_weight: Factor of the loss.
        loss_name: Name of the loss in the log; only names that contain ``loss`` are optimised.

    Example:
        >>> loss = LabelledCrossEntropyLoss()
        >>> logits = torch.zeros(1, 5, 8, 8)
        >>> loss(logits, torch.full((1, 8, 8), 2))  # log(5)
        tensor(1.6094)
        >>> loss(logits, torch.full((1, 8, 8), 255))
        tensor(0.)
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
            logits: Logits, (N, classes, H, W), or (N, 1, H, W) of a binary head.
            label: Train ids, (N, H, W).
            weight: Pixel weights from a pixel sampler, (N, H, W).
            ignore_index: Label of pixels to ignore, in addition to 255.
            reduction_override: ``'none'`` returns the loss of each pixel.

        Returns:
            Loss, a scalar, or (N, H, W) without reduction.

        Raises:
            UserError: ``use_sigmoid`` contradicts the number of logits.
        """
        if self.use_sigmoid is not None and self.use_sigmoid != (logits.shape[1] == 1):
            raise UserError(
                f'LabelledCrossEntropyLoss: use_sigmoid={self.use_sigmoid} contradicts a head with '
                f'{logits.shape[1]} output channels. A sigmoid requires num_classes=2, '
                'out_channels=1; omit use_sigmoid otherwise'
            )
        label = merge_unlabelled(label, ignore_index)
        logits = expand_binary_logits(logits).float()  # sums over pixels overflow float16
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
            # Of constant shape: a selection of labelled pixels would make a GPU wait.
            known = torch.where(labelled, label, 0)
            total = (self.class_weight[known] * labelled).sum()
        return self.loss_weight * losses.sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)


def merge_unlabelled(label: Tensor, ignore_index: int) -> Tensor:
    """Return a label in which unlabelled pixels, 255, have the index to ignore, too."""
    if ignore_index == NO_CLASS:
        return label
    return label.masked_fill(label == NO_CLASS, ignore_index)


def expand_binary_logits(logits: Tensor) -> Tensor:
    """Expand the logit of a binary head to two classes; other logits are returned unchanged.

    The logit of the first class is 0, so that the softmax over both equals the sigmoid.
    """
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

"""Dice loss over labelled pixels."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from .labelled_cross_entropy import expand_binary_logits, merge_unlabelled


@MODELS.register_module()
class LabelledDiceLoss(nn.Module):
    """Compute one minus the mean soft Dice coefficient of the classes in a batch's labels.

    The coefficient of a class with probabilities p and one-hot labels g is ``2 * sum(p * g) /
    (sum(p**2) + sum(g**2))`` (Milletari et al., V-Net, 2016, section 3), over the labelled pixels
    of the batch. Classes have equal weight, as in mIoU. A batch without labels has a loss of 0.

    mmseg's ``DiceLoss`` sums over all classes of an image, so frequent classes dominate, and counts
    predictions on unlabelled pixels as errors.

    Args:
        loss_weight: Factor of the loss.
        loss_name: Name of the loss in the log; only names that contain ``loss`` are optimised.

    Example:
        >>> label = torch.tensor([[[0, 1], [1, 255]]])
        >>> perfect = 100 * torch.nn.functional.one_hot(label % 255, 2).permute(0, 3, 1, 2)
        >>> LabelledDiceLoss()(perfect, label)
        tensor(0.)
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_dice') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: Logits, (N, classes, H, W), or (N, 1, H, W) of a binary head.
            label: Train ids, (N, H, W).
            weight: Pixel weights from a pixel sampler, (N, H, W).
            ignore_index: Label of pixels to ignore, in addition to 255.

        Returns:
            Loss, a scalar.
        """
        label = merge_unlabelled(label, ignore_index)
        labelled = label != ignore_index
        counted = labelled.float() if weight is None else labelled * weight.float()
        probabilities = expand_binary_logits(logits).float().softmax(1)
        truth = torch.zeros_like(probabilities)
        truth.scatter_(1, torch.where(labelled, label, 0)[:, None], 1)
        counted = counted[:, None]
        pixels = (0, 2, 3)
        hits = (probabilities * truth * counted).sum(pixels)
        true = (truth * counted).sum(pixels)
        predicted = (probabilities.square() * counted).sum(pixels)
        occurs = true > 0
        dice = 2 * hits / (predicted + true).clamp(min=torch.finfo(hits.dtype).tiny)
        return self.loss_weight * ((1 - dice) * occurs).sum() / occurs.sum().clamp(min=1)

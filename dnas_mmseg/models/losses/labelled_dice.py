"""Dice loss over labelled pixels."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from .labelled_cross_entropy import expand_binary_logits


@MODELS.register_module()
class LabelledDiceLoss(nn.Module):
    """One minus the mean soft Dice coefficient of the classes that a batch's labels hold.

    Unlike mmseg's ``DiceLoss``, which sums over all classes of an image together and counts what is
    predicted on unlabelled pixels as wrong, each class has a coefficient of its own, over the
    labelled pixels of the whole batch. So a rare class weighs as much as a frequent one, as in
    mIoU. The denominator has squares (Milletari et al., V-Net, 2016). A batch without a labelled
    pixel has a loss of 0.

    Args:
        loss_weight: Factor of the loss.
        loss_name: Name of the loss in the log; ``loss_`` makes it count.
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
            logits: Logits, (N, classes, H, W); (N, 1, H, W) of a binary head.
            label: Train ids, (N, H, W).
            weight: Weights of the pixels, (N, H, W), from a pixel sampler.
            ignore_index: Label of unlabelled pixels.

        Returns:
            Loss, a scalar.
        """
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

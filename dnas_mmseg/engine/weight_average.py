"""Averages of weights over training steps."""

from __future__ import annotations

import torch
from mmengine.model import MomentumAnnealingEMA
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class ForeachMomentumAnnealingEMA(MomentumAnnealingEMA):
    """Momentum-annealing average of weights, updated by a few calls instead of one per tensor.

    Equal to :class:`mmengine.model.MomentumAnnealingEMA`, which reads its counter of steps for each
    tensor: on a GPU, which then waits hundreds of times per step.

    Args:
        *args: Arguments of :class:`mmengine.model.MomentumAnnealingEMA`.
        **kwargs: Further arguments of :class:`mmengine.model.MomentumAnnealingEMA`.
    """

    def update_parameters(self, model: nn.Module) -> None:
        """Update the average by the weights of a model, and by its buffers if configured."""
        steps = int(self.steps)
        if steps == 0 or steps % self.interval:
            super().update_parameters(model)  # copies, or counts only
            return
        tensors = model.state_dict() if self.update_buffers else dict(model.named_parameters())
        averages = {k: v.data for k, v in self.avg_parameters.items() if v.is_floating_point()}
        sources = [tensors[k].data.to(average.device) for k, average in averages.items()]
        momentum = max(self.momentum, self.gamma / (self.gamma + steps))
        torch._foreach_lerp_(list(averages.values()), sources, momentum)
        if not self.update_buffers:
            for average, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                average.data.copy_(buffer.data)
        self.steps += 1

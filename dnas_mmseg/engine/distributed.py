"""Distributed training: its initialisation, with gloo where no GPU is available, and buffers."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_world_size, init_dist, is_distributed
from torch import nn


def set_launcher(config: Config, launcher: str) -> None:
    """Set a config's launcher and initialise the process group."""
    config.launcher = launcher
    join_processes(launcher)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        wrapper = dict(
            device_ids=None,
            broadcast_buffers=False,
            # mmengine forwards this setting only if model_wrapper_cfg is not set.
            find_unused_parameters=config.get('find_unused_parameters', False),
        )
        config.setdefault('model_wrapper_cfg', wrapper)


def join_processes(launcher: str) -> None:
    """Initialise the process group of a launcher, unless it already exists.

    mmengine assigns a GPU to every process. Without a GPU, the backend is gloo.
    """
    if launcher == 'none' or is_distributed():
        return
    if launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
    else:
        init_dist(launcher)


def average_buffers(model: nn.Module) -> None:
    """Average the stored floating-point buffers of a model over all processes.

    Each process has batch-norm statistics of its own tiles, unless batch norms are synchronised. In
    float64, the average of equal values is exactly this value.

    Args:
        model: Model, modified in place; all processes must call this function.
    """
    if get_world_size() == 1:
        return
    stored = model.state_dict()
    buffers = [
        buffer
        for name, buffer in model.named_buffers()
        if name in stored and buffer.is_floating_point()
    ]
    if not buffers:
        return
    flat = torch.cat([buffer.detach().flatten().double() for buffer in buffers])
    all_reduce(flat, op='mean')
    for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.data.copy_(mean.view_as(buffer))

"""Initialisation of distributed training, with gloo where no GPU is available."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed


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

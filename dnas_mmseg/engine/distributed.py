"""Start of communication between the processes that a launcher started."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed


def set_launcher(config: Config, launcher: str) -> None:
    """Set the launcher of the processes in a config, and join them."""
    config.launcher = launcher
    join_processes(launcher)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        wrapper = dict(
            device_ids=None,
            broadcast_buffers=False,
            # mmengine passes it on only where there is no config of the wrapper.
            find_unused_parameters=config.get('find_unused_parameters', False),
        )
        config.setdefault('model_wrapper_cfg', wrapper)


def join_processes(launcher: str) -> None:
    """Let the processes that a launcher started talk to each other.

    mmengine gives every process a GPU; where there is none, they are joined by gloo.
    """
    if launcher == 'none' or is_distributed():
        return
    if launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
    else:
        init_dist(launcher)

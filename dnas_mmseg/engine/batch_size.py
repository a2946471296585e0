"""Largest batch of a training that fits into the memory of a GPU."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError
from dnas_mmseg.models import place

from .config_parts import check_single_step
from .config_validation import validate_config

_MEMORY = 0.9
"""Share of the GPU's memory for the trials; the rest is for validation and fragmentation."""


def find_batch_size(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest power of two from 2 that fits.

    Args:
        fits: Whether a training step with a batch of this size fits into memory.
        limit: Largest size to try.

    Returns:
        Size of the batch; 0 if not even 2 fits.

    Example:
        >>> find_batch_size(lambda size: size <= 12, limit=64)
        8
    """
    best, size = 0, 2  # stock heads cannot normalise a pooled map of one tile
    while size <= limit and fits(size):
        best, size = size, 2 * size
    return best


def set_largest_batch(config: Config, fits: Callable[[Config, int], bool] | None = None) -> int:
    """Set the batch size to the largest power of two that fits into the memory of the GPU.

    Args:
        config: Config of a training, modified in place.
        fits: Whether training steps of a config fit with this batch size; defaults to a trial on
            the GPU.

    Returns:
        Size of the batch, at most the number of training tiles.

    Raises:
        UserError: No CUDA GPU is available, not even two tiles fit, or the config is a stage of a
            search.
    """
    if fits is None and get_device() != 'cuda':
        raise UserError('--batch-size auto requires a CUDA GPU, none was found: set a number')
    check_single_step(config, '--batch-size auto')
    trial = fits or fits_into_memory
    init_default_scope(config.get('default_scope', 'mmseg'))
    validate_config(config)
    tiles = len(Runner.build_dataloader(config.train_dataloader, seed=0).dataset)
    size = find_batch_size(lambda size: trial(config, size), tiles)
    if not size:
        raise UserError(
            f'--batch-size auto: a batch of two of the {tiles} training tiles does not fit: set '
            '--batch-size 1, or use a smaller crop'
        )
    config.train_dataloader.batch_size = size
    return size


def fits_into_memory(config: Config, size: int) -> bool:
    """Return whether training steps with a batch of this size fit into 90 % of the GPU's memory."""
    torch.cuda.set_per_process_memory_fraction(_MEMORY)
    try:
        take_steps(config, size, 'cuda')
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)
    return True


def take_steps(config: Config, size: int, device: str) -> None:
    """Take two training steps: the optimizer allocates its state in the first one."""
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    batch = loader.collate_fn([loader.dataset[i] for i in range(size)])
    model = place(revert_sync_batchnorm(MODELS.build(config.model)), device).train()
    optimizer = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    for _ in range(2):
        with optimizer.optim_context(model):
            data = model.data_preprocessor(copy.deepcopy(batch), True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.update_params(loss)

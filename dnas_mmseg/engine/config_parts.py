"""Parts of configs that mmengine accepts in several forms."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from dnas_mmseg.errors import UserError


def type_name(config: Mapping[str, Any]) -> str:
    """Return the class name of a config's ``type``: of a class, or of a name without its scope.

    Example:
        >>> type_name(dict(type='mmengine.EMAHook', momentum=0.1))
        'EMAHook'
    """
    kind = config.get('type', '')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def check_single_step(config: Mapping[str, Any], option: str) -> None:
    """Check that an iteration of a training is a step of the weights, which options measure.

    Args:
        config: Config of a training.
        option: The option, for the error message.

    Raises:
        UserError: The config is a stage of a search, with steps of the architecture.
    """
    hooks = config.get('custom_hooks') or []
    if any(type_name(hook) == 'ArchitectureSearchHook' for hook in hooks):
        raise UserError(
            f'{option} does not measure the architecture steps of a search (custom_hooks has '
            'ArchitectureSearchHook): set train_cfg.max_epochs and train_dataloader.batch_size, or '
            'use dnas search --dry-run for its time'
        )


def list_schedulers(config: Mapping[str, Any]) -> list[Any]:
    """Return the parameter schedulers of a config, which may have one, several or none.

    Example:
        >>> list_schedulers(dict(param_scheduler=dict(type='PolyLR')))
        [{'type': 'PolyLR'}]
    """
    schedulers = config.get('param_scheduler') or []
    return [schedulers] if isinstance(schedulers, Mapping) else list(schedulers)


def list_imports(config: Mapping[str, Any]) -> list[str]:
    """Return the modules of a config's ``custom_imports``, which may be one, several or none.

    Example:
        >>> list_imports(dict(custom_imports=dict(imports='dnas_mmseg')))
        ['dnas_mmseg']
    """
    imports = (config.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)


def merge_imports(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``custom_imports`` of a config that combines parts of several ones.

    Args:
        *configs: The configs. Failed imports are allowed if one of them allows them.
    """
    imports = dict.fromkeys(name for config in configs for name in list_imports(config))
    settings = [config.get('custom_imports') or {} for config in configs]
    allowed = any(own.get('allow_failed_imports', False) for own in settings)
    return dict(imports=list(imports), allow_failed_imports=allowed)


def add_visualizer(config: Config) -> None:
    """Add mmengine's default visualizer to a config without one.

    Args:
        config: Config, modified in place.
    """
    if not config.get('visualizer'):
        config.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])


def set_work_dir(config: Config, folder: str | os.PathLike) -> None:
    """Set the work dir of a config, of which a process may run several.

    Args:
        config: Config, modified in place. Its visualizer and its experiment are named after the
            folder, since mmengine shares visualizers and loggers of the same name, which defaults
            to the name of the config and the time in seconds.
        folder: The work dir.
    """
    add_visualizer(config)
    config.work_dir = config.visualizer.name = str(folder)
    config.experiment_name = f'{Path(folder).name}_{time.time_ns()}'

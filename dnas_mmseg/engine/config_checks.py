"""Checks of overrides, and of hardware and packages that a config requires."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from dnas_mmseg.errors import UserError, did_you_mean

from .config_parts import add_visualizer

_READ_BY_RUNNER = {
    *inspect.signature(Runner.__init__).parameters,
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'supernet',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
} - {'self', 'cfg'}
"""Settings that the Runner reads, also if a config does not contain them."""


def warn(message: str) -> None:
    """Print a warning to stderr, in distributed runs only on local rank 0."""
    if os.environ.get('LOCAL_RANK', '0') == '0':
        print(f'warning: {message}', file=sys.stderr)


def warn_unknown_keys(options: Mapping, config: Mapping, source: str = '--cfg-options') -> None:
    """Warn about overrides that have no effect, because the Runner does not read their first key.

    Args:
        options: Overrides, with dotted or nested keys.
        config: Config to override.
        source: Command-line option of the overrides.
    """
    known = _READ_BY_RUNNER | set(config)
    for key in options:
        first = str(key).split('.')[0]
        if first not in known:
            warn(
                f"{source} {key}: the config has no '{first}'{did_you_mean(first, known)}, so the "
                'override has no effect unless your own code reads it'
            )
        elif first not in _READ_BY_RUNNER:
            # The file was executed before: values derived from the variable do not change.
            warn(
                f"{source} {key}: '{first}' is a variable of the config file, so the override has "
                'no effect unless your own code reads it; override the settings derived from it, '
                'or inherit the config (for the data, use --data-root)'
            )


def check_mixed_precision(config: Config) -> None:
    """Check that a GPU is available if the config uses mixed precision.

    Raises:
        UserError: No GPU is available.
    """
    kind = (config.get('optim_wrapper') or {}).get('type')
    if kind == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise UserError(
            'mixed precision (--amp, AmpOptimWrapper) requires a GPU, none was found: disable it'
        )


def check_sync_batch_norm(config: Config) -> None:
    """Check that GPUs are available if a distributed run synchronises batch norm.

    Raises:
        UserError: No GPU is available.
    """
    is_distributed = config.get('launcher', 'none') != 'none'
    if config.get('sync_bn') and is_distributed and get_device() in ('cpu', 'mps'):
        raise UserError(
            'synchronised batch norm (--sync-bn, sync_bn) requires GPUs, none was found: disable it'
        )


_BACKENDS = {
    'AimVisBackend': ('aim',),
    'ClearMLVisBackend': ('clearml',),
    'DVCLiveVisBackend': ('dvclive',),
    'MLflowVisBackend': ('mlflow',),
    'NeptuneVisBackend': ('neptune',),
    'TensorboardVisBackend': ('tensorboard', 'tensorboardX'),
    'WandbVisBackend': ('wandb',),
}
"""Alternative packages by mmengine backend. mmengine imports them only after a run has started."""

LOGGING_BACKENDS = {kind.removesuffix('VisBackend').lower(): kind for kind in _BACKENDS}
"""mmengine's visualizer backends with a package of their own, by short name."""


def log_to(config: Config, names: Sequence[str]) -> None:
    """Add visualizer backends to a config; those of the config are kept.

    Args:
        config: Config, modified in place.
        names: Short names, the keys of :data:`LOGGING_BACKENDS`.

    Raises:
        UserError: A name is unknown, or the package of a backend is missing.

    Example:
        >>> config = Config(dict(visualizer=dict(vis_backends=[dict(type='LocalVisBackend')])))
        >>> log_to(config, ['tensorboard'])
        >>> [backend.type for backend in config.visualizer.vis_backends]
        ['LocalVisBackend', 'TensorboardVisBackend']
    """
    for name in names:
        if name not in LOGGING_BACKENDS:
            raise UserError(
                f'--log-to {name}: no such backend; choose among {", ".join(LOGGING_BACKENDS)}'
            )
    add_visualizer(config)
    backends = list(config.visualizer.get('vis_backends') or [])
    present = {str(backend.get('type')) for backend in backends}
    wanted = dict.fromkeys(LOGGING_BACKENDS[name] for name in names)
    config.visualizer.vis_backends = [
        *backends,
        *(dict(type=kind) for kind in wanted if kind not in present),
    ]
    check_backends(config)


def check_backends(config: Config) -> None:
    """Check that the packages of the visualizer backends are installed.

    Raises:
        UserError: A package is missing; the message contains the pip command.
    """
    for backend in (config.get('visualizer') or {}).get('vis_backends') or []:
        packages = _BACKENDS.get(str(backend.get('type')), ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f'{backend["type"]} requires {packages[0]}, which is not installed: pip install '
                f'{packages[0]}, or remove the backend from visualizer.vis_backends'
            )

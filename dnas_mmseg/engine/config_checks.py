"""Checks of overrides and of what a config needs of this machine."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from dnas_mmseg.errors import UserError

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
"""Settings that have an effect even if a config lacks them."""


def warn(message: str) -> None:
    """Print a warning, once where several processes run the program."""
    if os.environ.get('LOCAL_RANK', '0') == '0':
        print(f'warning: {message}', file=sys.stderr)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for a misspelt word; nothing where no known word is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f' (did you mean {near[0]}?)' if near else ''


def warn_unknown_keys(options: Mapping, config: Mapping, source: str = '--cfg-options') -> None:
    """Warn of overrides that have no effect because nothing reads their first key.

    Args:
        options: Overrides, with dotted or nested keys.
        config: Config that they override.
        source: Option by which the user gave them.
    """
    known = _READ_BY_RUNNER | set(config)
    for key in options:
        first = str(key).split('.')[0]
        if first not in known:
            warn(
                f"{source} {key}: the config has no '{first}'{did_you_mean(first, known)}, so this "
                'has no effect unless code of your own reads it'
            )
        elif first not in _READ_BY_RUNNER:
            # The values that the file made of it are made already.
            warn(
                f"{source} {key}: '{first}' is a variable of the config file, so this has no "
                'effect unless code of your own reads it; override what is made of it, or inherit '
                'the config (--data-root is for the data)'
            )


def check_mixed_precision(config: Config) -> None:
    """Check that mixed precision has a GPU, which it needs.

    Raises:
        UserError: There is no GPU.
    """
    kind = (config.get('optim_wrapper') or {}).get('type')
    if kind == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise UserError(
            'mixed precision (--amp, AmpOptimWrapper) needs a GPU, and none was found: leave it out'
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
"""Packages of mmengine's backends, any of which will do; it imports them when a run has begun."""


def check_backends(config: Config) -> None:
    """Check that the packages of the visualizer's backends are installed.

    Raises:
        UserError: One is not; the message says what to install.
    """
    for backend in (config.get('visualizer') or {}).get('vis_backends') or []:
        packages = _BACKENDS.get(str(backend.get('type')), ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f'{backend["type"]} needs {packages[0]}, which is not installed: pip install '
                f'{packages[0]}, or leave the backend out of visualizer.vis_backends'
            )

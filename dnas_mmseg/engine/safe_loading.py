"""Loading of checkpoints that runs no code, by mmengine either; the allow-list of types."""

from __future__ import annotations

import difflib
import os
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from .checkpoints import CheckpointError, read_checkpoint

_STATISTICS = ('min', 'max', 'current', 'mean')


_ZOOS = {
    'modelzoo://': get_torchvision_models,
    'torchvision://': get_torchvision_models,
    'open-mmlab://': get_external_models,
    'openmmlab://': get_external_models,
    'mmcls://': get_mmcls_models,
}
"""Collections of pretrained models by prefix: functions that return their addresses by name."""

_REFUSED = ('pavi://', r'(\S+\:)?s3:\/\/', r'(\S+\:)?petrel:\/\/')
"""Prefixes of storages whose loaders in mmengine unpickle anything."""


def register_safe_loaders() -> None:
    """Make mmengine load checkpoints with ``weights_only=True`` alone, wherever they come from.

    Its own loaders fall back to plain unpickling, which runs any code that a file holds: for
    ``load_from``, ``resume``, and ``Pretrained`` and :class:`MultiBandPretrained` in configs.
    """
    register = CheckpointLoader.register_scheme
    register('', load_from_file, force=True)
    register(('http://', 'https://'), load_from_url, force=True)
    register(tuple(_ZOOS), load_from_zoo, force=True)
    register(_REFUSED, load_from_storage, force=True)


def load_from_file(filename: str, map_location: Any = None) -> Any:
    """Load a local checkpoint; see :func:`dnas_mmseg.engine.checkpoints.read_checkpoint`."""
    return read_checkpoint(os.path.expanduser(filename), map_location)


def load_from_url(filename: str, map_location: Any = None) -> Any:
    """Download a checkpoint into torch's cache, in one process of a machine, and load it.

    Raises:
        CheckpointError: It cannot be downloaded, or holds more than weights.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / Path(urlparse(filename).path).name
    rank, _ = get_dist_info()
    if rank == 0 and not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, str(path))
        except OSError as error:  # urllib's errors are of this kind
            raise CheckpointError(
                f'{filename} cannot be downloaded ({error}): give a file instead, or put it into '
                f'{path}'
            ) from None
    barrier()
    return read_checkpoint(path, map_location)


def load_from_zoo(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint of a collection, ``torchvision://resnet50`` for instance.

    Raises:
        CheckpointError: There is no such model, or it cannot be downloaded.
    """
    prefix, _, name = filename.partition('://')
    try:
        models = _ZOOS[f'{prefix}://']()
    except ImportError as error:
        raise CheckpointError(f'{filename} needs {error.name}: pip install {error.name}') from None
    name = get_deprecated_model_names().get(name, name)
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3)
        hint = f' (did you mean {" or ".join(near)}?)' if near else ''
        raise CheckpointError(f'{filename}: no such pretrained model{hint}')
    return load_from_url(models[name], map_location)


def load_from_storage(filename: str, map_location: Any = None) -> Any:
    """Refuse what mmengine would unpickle."""
    raise CheckpointError(f'{filename}: download it, and give the file')


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read Runner checkpoints and the authors' ones.

    A Runner stores its message hub (``HistoryBuffer``, numpy arrays); the authors stored a numpy
    scalar. Only plain data types are allowed here; a file with anything else is still refused.
    """
    try:
        multiarray = import_module('numpy._core.multiarray')
    except ImportError:  # numpy 1
        multiarray = import_module('numpy.core.multiarray')
    plain: list[type] = [
        type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i4', 'i8', 'u1', 'bool')
    ]
    plain += [HistoryBuffer, np.dtype, np.ndarray]
    # All by name: mmengine may allow the bare classes while it loads, and forbid them afterwards.
    named: list[tuple[Any, str]] = [(kind, f'{kind.__module__}.{kind.__name__}') for kind in plain]
    named += [
        # Pickles name these by the module of the numpy that wrote them.
        (function, f'{module}.multiarray.{function.__name__}')
        for function in (multiarray.scalar, multiarray._reconstruct)
        for module in ('numpy.core', 'numpy._core')
    ]
    torch.serialization.add_safe_globals([*named, (_history_statistic, 'builtins.getattr')])


def _history_statistic(owner: object, name: str) -> object:
    """Stand in for ``getattr``, by which a HistoryBuffer's pickle names its four statistics.

    The real one would let a file reach any attribute of anything on the allow-list.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)

"""Checkpoint loaders for mmengine that never unpickle arbitrary objects, and their allow-list."""

from __future__ import annotations

import hashlib
import os
import re
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

from dnas_mmseg.errors import did_you_mean

from .checkpoints import CheckpointError, read_checkpoint

_STATISTICS = ('min', 'max', 'current', 'mean')


_ZOOS = {
    'modelzoo://': get_torchvision_models,
    'torchvision://': get_torchvision_models,
    'open-mmlab://': get_external_models,
    'openmmlab://': get_external_models,
    'mmcls://': get_mmcls_models,
}
"""Model zoos by prefix: functions that map model names to URLs."""

_HASHED = re.compile(r'[-_][0-9a-f]{8,}$')
"""End of the names of files that contain a hash of their content."""

_REFUSED = ('pavi://', r'(\S+\:)?s3:\/\/', r'(\S+\:)?petrel:\/\/')
"""Prefixes of storage backends that mmengine loads by unrestricted unpickling."""


def register_safe_loaders() -> None:
    """Make mmengine load checkpoints from every source with ``weights_only=True``.

    mmengine's own loaders fall back to unrestricted unpickling, which runs arbitrary code of a
    file. This affects ``load_from``, ``resume``, ``Pretrained`` and :class:`MultiBandPretrained`.
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
    """Download a checkpoint to torch's cache, once per machine, and load it.

    Files of equal names at several addresses are kept apart, unless the name ends with a hash of
    the content, as those of torch and OpenMMLab do.

    Raises:
        CheckpointError: The download fails, or the file contains objects other than weights.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / Path(urlparse(filename).path).name
    if not _HASHED.search(path.stem):
        address = hashlib.sha256(filename.encode()).hexdigest()[:8]
        path = path.with_name(f'{path.stem}-{address}{path.suffix}')
    rank, _ = get_dist_info()
    is_first = int(os.environ.get('LOCAL_RANK', rank)) == 0
    if is_first and not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, str(path))
        except OSError as error:  # includes urllib's errors
            raise CheckpointError(
                f'{filename} cannot be downloaded ({error}): use a local file, or save it as {path}'
            ) from None
    barrier()
    return read_checkpoint(path, map_location)


def load_from_zoo(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint from a model zoo, such as ``torchvision://resnet50``.

    Raises:
        CheckpointError: The model does not exist, or the download fails.
    """
    prefix, _, name = filename.partition('://')
    try:
        models = _ZOOS[f'{prefix}://']()
    except ImportError as error:
        raise CheckpointError(
            f'{filename} requires {error.name}: pip install {error.name}'
        ) from None
    name = get_deprecated_model_names().get(name, name)
    if name not in models:
        hint = did_you_mean(name, models, 3)
        raise CheckpointError(f'{filename}: no such pretrained model{hint}')
    return load_from_url(models[name], map_location)


def load_from_storage(filename: str, map_location: Any = None) -> Any:
    """Reject a storage backend that mmengine would unpickle from.

    Raises:
        CheckpointError: Always; the message recommends a local file.
    """
    raise CheckpointError(
        f'{filename}: this storage is not supported; download the file and use its local path'
    )


def allow_checkpoint_globals() -> None:
    """Extend torch's allow-list so that ``weights_only=True`` reads Runner and DNAS checkpoints.

    A Runner stores its message hub (``HistoryBuffer``, numpy arrays); the checkpoints of the DNAS
    authors contain a numpy scalar. Only plain data types are added; other objects are refused.
    """
    try:
        multiarray = import_module('numpy._core.multiarray')
    except ImportError:  # numpy 1
        multiarray = import_module('numpy.core.multiarray')
    plain: list[type] = [
        type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i4', 'i8', 'u1', 'bool')
    ]
    plain += [HistoryBuffer, np.dtype, np.ndarray]
    # By qualified name: mmengine may add and remove the bare classes around its own loading.
    allowed: list[tuple[Any, str]] = [
        (kind, f'{kind.__module__}.{kind.__name__}') for kind in plain
    ]
    allowed += [
        # A pickle refers to these by the module of the numpy version that wrote it.
        (function, f'{module}.multiarray.{function.__name__}')
        for function in (multiarray.scalar, multiarray._reconstruct)
        for module in ('numpy.core', 'numpy._core')
    ]
    torch.serialization.add_safe_globals([*allowed, (_history_statistic, 'builtins.getattr')])


def _history_statistic(owner: object, name: str) -> object:
    """Replace ``getattr``, which a pickled HistoryBuffer uses to refer to its four statistics.

    The builtin would give a file access to any attribute of every object on the allow-list.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)

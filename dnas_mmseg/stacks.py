"""Compatibility with both distributions of mmseg."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import mmengine.logging
from mmengine.config.utils import MODULE2PACKAGE

_ONEDL = 'onedl-mmsegmentation'


def inherit_configs() -> None:
    """Register ``dnas_mmseg::`` configs with mmengine, and ``mmseg::`` ones on the onedl stack.

    mmengine maps the prefix ``mmseg`` to the distribution ``mmsegmentation``. If it is missing,
    ``mmengine.hub.get_config`` would install it over onedl's distribution.
    """
    # The module name instead of the distribution: in an editable installation, they are in
    # different folders.
    MODULE2PACKAGE['dnas_mmseg'] = __name__
    if _is_installed(_ONEDL) and not _is_installed('mmsegmentation'):
        MODULE2PACKAGE['mmseg'] = _ONEDL


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Suppress two harmless messages on importing mmseg on the onedl stack.

    mmseg logs at debug level that the package OneDL is missing, which mmengine's ``print_log``
    prints regardless of the level; mmcv warns that an operator was not compiled.
    """
    print_log = mmengine.logging.print_log

    def above_debug(msg, logger=None, level=logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            print_log(msg, logger, level)

    with patch.object(mmengine.logging, 'print_log', above_debug), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
        yield


@contextmanager
def deferred_timm() -> Iterator[None]:
    """Let mmseg import timm when a backbone of it is built, not with all of its backbones.

    timm imports torchvision and torch's compiler, which take longer than the rest of mmseg.
    """
    spec = None if 'timm' in sys.modules else find_spec('timm')
    if spec is None:
        yield
        return
    sys.modules['timm'] = _Timm(spec)  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules['timm']


class _Timm:
    """Stand-in of timm, which is imported when an attribute is used."""

    def __init__(self, spec: ModuleSpec) -> None:
        # For packages that ask whether timm is installed, or import a part of it.
        self.__spec__, self.__path__ = spec, list(spec.submodule_search_locations or ())

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get('timm') is self:  # an inspection of all modules does not use it
            raise AttributeError(name)
        return getattr(import_module('timm'), name)


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True

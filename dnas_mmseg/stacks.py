"""Adjustments by which both distributions of mmseg work alike."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version

from mmengine.config.utils import MODULE2PACKAGE

_ONEDL = 'onedl-mmsegmentation'
_NOTE = 'Could not import OneDL'


def inherit_configs() -> None:
    """Let mmengine find configs by ``dnas_mmseg::...``, and by ``mmseg::...`` on the onedl stack.

    mmengine looks in a table for the distribution that serves a name. For ``mmseg`` that is
    ``mmsegmentation``; where there is none, ``mmengine.hub.get_config`` would install it over
    onedl's.
    """
    # A module's name, so that mmengine looks for the module's folder: an editable installation's
    # distribution lies in another folder than its modules.
    MODULE2PACKAGE['dnas_mmseg'] = __name__
    if _is_installed(_ONEDL) and not _is_installed('mmsegmentation'):
        MODULE2PACKAGE['mmseg'] = _ONEDL


@contextmanager
def suppress_onedl_notes() -> Iterator[None]:
    """Suppress what looks like a failure while mmseg is imported on the onedl stack.

    mmseg prints that a package for its makers' own data sets is missing, and mmcv warns of an
    operator that it was installed without. Everything else that is printed appears afterwards.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
            yield
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        print(''.join(line for line in lines if line.strip() != _NOTE), end='')


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True

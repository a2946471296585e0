"""Adjustments by which both distributions of mmseg work alike."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version

from mmengine.config.utils import MODULE2PACKAGE

_ONEDL = 'onedl-mmsegmentation'
_NOTE = 'Could not import OneDL'


def inherit_from_mmseg() -> None:
    """Let mmengine find the configs of mmseg (``mmseg::...``) where onedl's distribution serves it.

    mmengine looks for a distribution named ``mmsegmentation``; where there is none,
    ``mmengine.hub.get_config`` would install it over onedl's.
    """
    if _is_installed(_ONEDL) and not _is_installed('mmsegmentation'):
        MODULE2PACKAGE['mmseg'] = _ONEDL


@contextmanager
def without_onedl_note() -> Iterator[None]:
    """Suppress one line of console output while mmseg is imported.

    onedl's mmseg prints that a package for its makers' own data sets is missing, which looks like a
    failure. Everything else that is printed appears afterwards.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
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

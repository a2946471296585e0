"""Optional packages, installed by the extras of ``dnas_mmseg``."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import UserError


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: Name of the package.
        extra: Extra of ``dnas_mmseg`` that installs it.

    Raises:
        UserError: It is not installed; the message contains the pip command.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(f"{package} is not installed: pip install 'dnas_mmseg[{extra}]'") from None

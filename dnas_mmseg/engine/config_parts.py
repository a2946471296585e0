"""Parts of configs that mmengine accepts in several forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def type_name(config: Mapping[str, Any]) -> str:
    """Return the class name of a config's ``type``: of a class, or of a name without its scope.

    Example:
        >>> type_name(dict(type='mmengine.EMAHook', momentum=0.1))
        'EMAHook'
    """
    kind = config.get('type', '')
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else kind.__name__


def list_schedulers(config: Mapping[str, Any]) -> list[Any]:
    """Return the parameter schedulers of a config, which may have one, several or none.

    Example:
        >>> list_schedulers(dict(param_scheduler=dict(type='PolyLR')))
        [{'type': 'PolyLR'}]
    """
    schedulers = config.get('param_scheduler') or []
    return [schedulers] if isinstance(schedulers, Mapping) else list(schedulers)

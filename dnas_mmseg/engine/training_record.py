"""Training settings stored in checkpoints, and their comparison on resuming."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from .config_parts import list_schedulers, type_name

_SETTINGS = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg')
_HARMLESS = {'_scope_', 'fused', 'init_cfg', 'pretrained', 'val_begin', 'val_interval', 'with_cp'}
"""Keys that do not change the results of a resumed training run, up to rounding (``fused``: the
implementation of an optimizer)."""

_ITERATIONS = 'iterations of an epoch'

_MAX_DIFFERENCES = 6
"""Differences listed in an error message, which stays one readable line."""


def training_record(
    config: Mapping[str, Any], classes: Any = None, iterations: int | None = None
) -> str:
    """Return the settings that must not change when a training run resumes, as JSON.

    Args:
        config: Config of the training run.
        classes: Class names of the training set, if known.
        iterations: Number of iterations of an epoch, if known.
    """
    record = {name: _plain(config.get(name)) for name in _SETTINGS}
    record |= {'classes': _plain(classes), _ITERATIONS: iterations}
    return json.dumps(record, sort_keys=True)


def describe_differences(before: str, now: str) -> str:
    """Describe the differences of two records in one line; empty if they are equal."""
    # Records of older versions may contain keys that are harmless now.
    old, new = (dict(_flat(_plain(json.loads(record)))) for record in (before, now))
    # Without a schedule after the warm-up, the number of epochs only determines the end.
    if all(_is_independent_of_length(json.loads(record)) for record in (before, now)):
        for record in (old, new):
            record.pop('train_cfg.max_epochs', None)
            record.pop('train_cfg.max_iters', None)
            record.pop(_ITERATIONS, None)
    # It depends on tiles, batch size and processes. Records of older versions do not have it.
    if None in (old.get(_ITERATIONS), new.get(_ITERATIONS)) or not _counts_iterations(before):
        for record in (old, new):
            record.pop(_ITERATIONS, None)
    lines = [
        f'{key}: {_text(old, key)}, now {_text(new, key)}'
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    hidden = len(lines) - _MAX_DIFFERENCES
    more = f'; and {hidden} more' if hidden > 0 else ''
    return '; '.join(lines[:_MAX_DIFFERENCES]) + more


def _counts_iterations(record: str) -> bool:
    """Return whether the end of a schedule in epochs is a number of iterations."""
    found = json.loads(record)
    return 'max_epochs' in (found.get('train_cfg') or {}) and any(
        scheduler.get('convert_to_iter_based') for scheduler in list_schedulers(found)
    )


def _is_independent_of_length(record: Mapping[str, Any]) -> bool:
    """Return whether all schedulers are warm-ups with an explicit end.

    After a decay, further epochs would have a rate of 0.
    """
    return all(
        type_name(scheduler) == 'LinearLR'
        and scheduler.get('end') is not None
        and scheduler.get('end_factor', 1.0) == 1.0
        for scheduler in list_schedulers(record)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in _HARMLESS}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return os.path.basename(value) if os.path.isabs(value) else value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    document = getattr(value, 'to_document', None)  # an architecture
    return _plain(document()) if document else str(value)


def _flat(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) or (isinstance(value, list) and any(map(_is_nested, value))):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in items:
            yield from _flat(child, f'{key}.{name}' if key else str(name))
    elif value is not None:
        yield key, value


def _is_nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _text(record: Mapping[str, Any], key: str) -> str:
    text = str(record.get(key, 'none'))
    return text if len(text) <= 60 else f'{text[:57]}...'

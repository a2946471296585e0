"""Loading of configs with overrides, and writing of configs that inherit others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import print_log
from mmengine.utils import get_installed_path

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.datasets.configs import all_leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.shipped import CONFIGS

from .config_checks import warn_unknown_keys
from .config_parts import list_imports
from .config_validation import validate_config
from .inherited_data import adopt_description

_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def load_config(
    path: str | os.PathLike,
    *,
    data_root: str | os.PathLike | None = None,
    work_dir: str | os.PathLike | None = None,
    options: dict | None = None,
) -> Config:
    """Load a config and apply overrides.

    Inherited settings that contradict ``dataset.json`` of the data root are replaced
    (:func:`dnas_mmseg.engine.inherited_data.adopt_description`).

    Args:
        path: Path of the config, or ``<package>::<path>`` for a config of a package.
        data_root: Replaces ``data_root`` of every data set; None keeps them.
        work_dir: Replaces the work dir; defaults to that of the config, or to
            ``work_dirs/<name of the config>``.
        options: Overrides with dotted keys, merged last.

    Raises:
        UserError: The config or ``data_root`` does not exist, an override has another type than the
            setting, or the model has an unknown class or argument.

    Example:
        >>> config = load_config(
        ...     'dnas_mmseg::dnas/dnas_l12_gid5.py', options={'train_cfg.max_epochs': 60}
        ... )
        >>> config.train_cfg.max_epochs, config.work_dir
        (60, 'work_dirs/dnas_l12_gid5')
    """
    path = _find_config(str(path))
    if path.suffix not in _SUFFIXES:
        raise UserError(
            f'{path} is not a config ({", ".join(_SUFFIXES)}); put the config before the checkpoint'
        )
    try:
        config = Config.fromfile(str(path))
    except SyntaxError as error:
        raise UserError(f'{path} or a base config: line {error.lineno}: {error.msg}') from None
    except FileNotFoundError as error:
        raise UserError(f'{path}: a base config is missing: {error}') from None
    except (KeyError, TypeError) as error:  # an override has another type than its base
        raise UserError(f'{path} or a base config: {error.args[0]}') from None
    _remove_own_scope(config)
    _restore_import(config)
    if data_root is not None:
        if not os.path.isdir(data_root):
            raise DatasetError(f'--data-root {data_root}: no such folder')
        for dataset in all_leaf_datasets(config):
            dataset['data_root'] = str(data_root)
    for note in adopt_description(config, path):
        print_log(f'{path.name}: {note}', logger='current')
    if work_dir is not None or config.get('work_dir') is None:
        config.work_dir = str(work_dir or Path('work_dirs') / path.stem)
    if options:
        warn_unknown_keys(options, config)
        override_config(config, options)
    validate_config(config, 'model')
    return config


def override_config(
    config: Config, options: Mapping[str, Any], source: str = '--cfg-options'
) -> None:
    """Override settings of a config.

    Args:
        config: Config, modified in place.
        options: Overrides with dotted keys.
        source: Command-line option of the overrides.

    Raises:
        UserError: The type of an override differs from that of the setting, or its key lacks the
            index of an item of a list.
    """
    for key in options:
        _check_indices(config, str(key), options, source)
    try:
        config.merge_from_dict(dict(options))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f'{source}: {error.args[0]}') from error


def _check_indices(config: Config, key: str, options: Mapping[str, Any], source: str) -> None:
    """Require an index behind each list in a dotted key, unless the list is replaced."""
    value: Any = config
    names = key.split('.')
    for i, name in enumerate(names):
        if isinstance(value, list):
            parent = '.'.join(names[:i])
            if f'{parent}._delete_' in options:
                return
            if not name.isdecimal():
                found = (
                    n for n, item in enumerate(value) if isinstance(item, dict) and name in item
                )
                form = '.'.join([parent, str(next(found, 0)), *names[i:]])
                raise UserError(
                    f'{source} {key}: {parent} is a list of {len(value)}: give the index of an '
                    f'item, as in {form}=...'
                )
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, (Config, dict)) else None


def _find_config(name: str) -> Path:
    """Return the file of a config, given as a path or as ``<package>::<path>``."""
    package, separator, rest = name.partition('::')
    if not separator:
        path = Path(name)
        parts = path.parts
        rest = '/'.join(parts[parts.index('configs') + 1 :] if 'configs' in parts else parts)
        shipped = not path.is_absolute() and (CONFIGS / rest).is_file()
        hint = f'; use the config of the package: dnas_mmseg::{rest}' if shipped else ''
    else:
        if not package.isidentifier() or find_spec(package) is None:
            raise UserError(f'{name}: package {package} is not installed')
        installed = get_installed_path(MODULE2PACKAGE.get(package, package))
        folder = CONFIGS if package == 'dnas_mmseg' else Path(installed, '.mim/configs')
        path, hint = folder / rest, f' in {folder}'
        known = [file.relative_to(folder).as_posix() for file in folder.glob('*/*.py')]
        near = get_close_matches(rest, known, n=1)
        if near:
            hint += f' (did you mean {package}::{near[0]}?)'
    if not path.is_file():
        raise UserError(f'{name}: no such config{hint}')
    return path


def format_inheriting_config(
    base_path: str, base: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
    """Return the text of a config that inherits a base config and contains only the differences.

    Args:
        base_path: Path of the base config, for ``_base_``.
        base: Content of the base config.
        config: Content of the resulting config, with all keys of ``base``.

    Example:
        >>> print(format_inheriting_config('base.py', {'a': 1, 'b': 2}, {'a': 1, 'b': 3}))
        _base_ = 'base.py'
        b = 3
        <BLANKLINE>
    """
    return f"_base_ = '{base_path}'\n{Config(_changes(base, config)).pretty_text}"


def _changes(base: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        if key in base and _same(base[key], value):
            continue
        if key not in base or not isinstance(value, Mapping):
            changes[key] = value
        elif (
            isinstance(base[key], Mapping)
            and base[key].get('type') == value.get('type')
            and base[key].keys() <= value.keys()
        ):
            changes[key] = _changes(base[key], value)
        else:
            changes[key] = {'_delete_': True, **value}
    return changes


def _same(a: Any, b: Any) -> bool:
    """Return whether two values of configs are equal; 1 and True are not."""
    return a == b and repr(a) == repr(b)


def _remove_own_scope(value: Any) -> None:
    """Remove the ``_scope_`` keys that mmengine adds to bases inherited by ``dnas_mmseg::``.

    Otherwise they would be written to every derived config.
    """
    if isinstance(value, (Config, dict)):
        if value.get('_scope_') == 'dnas_mmseg':
            value.pop('_scope_')
        for child in value.values():
            _remove_own_scope(child)
    elif isinstance(value, (list, tuple)):
        for child in value:
            _remove_own_scope(child)


def _restore_import(config: Config) -> None:
    """Add this package to a ``custom_imports`` that replaced the inherited one.

    The package is imported already, but other programs read the config saved by the run.
    """
    if config.get('custom_imports') is None:
        config.custom_imports = dict(imports=['dnas_mmseg'], allow_failed_imports=False)
        return
    imports = config.custom_imports
    imports.imports = list_imports(config)
    if 'dnas_mmseg' not in imports.imports:
        print_log(
            "custom_imports of the config replaces the inherited one and lacks 'dnas_mmseg', so "
            'stock mmseg programs would not find its classes ("... is not in the mmseg::model '
            "registry\"). It was added; write custom_imports = dict(imports=['dnas_mmseg', ...]).",
            level=30,
        )
        imports.imports = ['dnas_mmseg', *imports.imports]

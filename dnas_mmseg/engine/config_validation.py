"""Validation of configs against the registries and the signatures of their classes.

Nothing is built. Unknown classes, unknown arguments and missing arguments are reported in one line,
with their position in the config and the most similar name.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmseg import registry as registries
from torch.utils.data import DataLoader

from dnas_mmseg.bands import band_names
from dnas_mmseg.datasets.configs import configured_metainfo, leaf_datasets
from dnas_mmseg.errors import UserError, check_seed, did_you_mean
from dnas_mmseg.models import SearchedEncoderDecoder


@dataclass(frozen=True)
class _Position:
    """Position in a config that holds the config of a class.

    Attributes:
        registry: Names of the mmseg registries that contain the class.
        filled: Arguments that code fills in; None disables the check for missing arguments.
        extra: Keys that the builder removes before it calls the class.
        default: Default class; without one, ``type`` is required.
    """

    registry: tuple[str, ...]
    filled: frozenset[str] | None = frozenset()
    extra: frozenset[str] = field(default=frozenset())
    default: str | None = None


_LAYER = _Position(('MODELS',), None)
_HEAD = _Position(('MODELS',))
_POSITIONS = {
    'model': _Position(('MODELS',)),
    'tta_model': _Position(('MODELS',), None),
    'backbone': _Position(('MODELS',)),
    'neck': _Position(('MODELS',)),
    'decode_head': _HEAD,
    'auxiliary_head': _HEAD,
    'data_preprocessor': _Position(('MODELS',)),
    'loss_decode': _Position(('MODELS',), None),
    'act_cfg': _LAYER,
    'conv_cfg': _LAYER,
    # Removed by mmcv.cnn.build_norm_layer.
    'norm_cfg': _Position(('MODELS',), None, frozenset({'requires_grad', 'eps'})),
    'dataset': _Position(('DATASETS',), frozenset({'pipeline'})),
    'datasets': _Position(('DATASETS',), frozenset({'pipeline'})),
    'pipeline': _Position(('TRANSFORMS',)),
    # Keys that mmengine.model.initialize removes.
    'init_cfg': _Position(('WEIGHT_INITIALIZERS',), None, frozenset({'override'})),
    'tta_pipeline': _Position(('TRANSFORMS',)),
    'transforms': _Position(('TRANSFORMS',)),
    'optim_wrapper': _Position(
        ('OPTIM_WRAPPERS',), frozenset({'params'}), frozenset({'constructor', 'paramwise_cfg'}),
        'OptimWrapper',
    ),
    'optimizer': _Position(('OPTIMIZERS',), frozenset({'params'})),
    'param_scheduler': _Position(
        ('PARAM_SCHEDULERS',), frozenset({'optimizer'}), frozenset({'convert_to_iter_based'})
    ),
    'custom_hooks': _Position(('HOOKS',), frozenset(), frozenset({'priority'})),
    'visualizer': _Position(('VISUALIZERS',)),
    'vis_backends': _Position(('VISBACKENDS',), frozenset({'save_dir'})),
    'val_evaluator': _Position(('METRICS', 'EVALUATOR')),
    'test_evaluator': _Position(('METRICS', 'EVALUATOR')),
    'metrics': _Position(('METRICS',)),
    'log_processor': _Position(('LOG_PROCESSORS',), default='LogProcessor'),
}  # fmt: skip
"""Positions by key. Types under other keys are not validated."""

_SECTIONS = (
    'model', 'tta_model', 'tta_pipeline', 'optim_wrapper', 'param_scheduler', 'custom_hooks',
    'visualizer', 'val_evaluator', 'test_evaluator', 'log_processor',
)  # fmt: skip
"""Sections that mmengine's Runner reads; other keys of a config are variables of its file."""

_MMDET_HEADS = ('Mask2FormerHead', 'MaskFormerHead')
"""Heads whose base class is in mmdet; without mmdet, mmseg registers them without arguments."""

_LOOPS = {'val_cfg': 'ValLoop', 'test_cfg': 'TestLoop'}
_LOOP_ARGUMENTS = frozenset({'runner', 'dataloader', 'evaluator'})
_LOADER_SETTINGS = frozenset({'num_batch_per_epoch'})
_FROM_BACKBONE = frozenset({'in_channels', 'in_index', 'c1_in_channels'})
"""Arguments of heads that :class:`SearchedEncoderDecoder` takes from the backbone."""


def validate_config(config: Config, *sections: str) -> None:
    """Validate the classes and arguments of a config.

    Args:
        config: Config of a training or a test run.
        *sections: Sections to validate, e.g. ``'model'``; defaults to all sections.

    Raises:
        UserError: The first error: an unregistered class, an unknown or missing argument, a
            missing ``type``, a batch size that is not positive, or a ConcatDataset whose parts
            differ in classes or bands.
    """
    for key, value in config.items():
        if sections and key not in sections:
            continue
        if key.endswith('_dataloader') and isinstance(value, Mapping):
            _validate_loader(key, value)
            _compare_parts(value.get('dataset'))
        elif key == 'train_cfg' and isinstance(value, Mapping):
            kind = 'EpochBasedTrainLoop' if value.get('by_epoch') else 'IterBasedTrainLoop'
            position = _Position(('LOOPS',), _LOOP_ARGUMENTS, frozenset({'by_epoch'}), kind)
            _validate(key, value, position)
        elif key in _LOOPS and isinstance(value, Mapping):
            _validate(key, value, _Position(('LOOPS',), _LOOP_ARGUMENTS, default=_LOOPS[key]))
        elif key == 'default_hooks' and isinstance(value, Mapping):
            for name, hook in value.items():
                _validate(f'{key}.{name}', hook, _POSITIONS['custom_hooks'])
        elif key == 'randomness' and isinstance(value, Mapping):
            _check_names(key, Runner.set_randomness, value)
            check_seed(value.get('seed'), 'randomness.seed')
        elif key in _SECTIONS:
            _validate(key, value, _POSITIONS[key])


def _validate_loader(key: str, loader: Mapping) -> None:
    _check_names(key, DataLoader, loader, _LOADER_SETTINGS)
    batch = loader.get('batch_size')
    if batch is not None and not (isinstance(batch, int) and batch > 0):
        raise UserError(f'{key}.batch_size = {batch!r}: expected a positive integer')
    _validate(f'{key}.dataset', loader.get('dataset'), _POSITIONS['dataset'])
    for name in ('sampler', 'batch_sampler'):
        _validate(f'{key}.{name}', loader.get(name), _Position(('DATA_SAMPLERS',), None))


def _validate(key: str, value: Any, position: _Position) -> None:
    """Validate the config of a class, or several of them, at a position."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _validate(f'{key}[{i}]', item, position)
    if not isinstance(value, Mapping) or not value:
        return
    kind = value.get('type', position.default)
    if kind is None:
        if all(isinstance(child, Mapping) and 'type' in child for child in value.values()):
            for name, child in value.items():  # several classes by name
                _validate(f'{key}.{name}', child, position)
            return
        raise UserError(f"{key}: {dict(value)} has no 'type'")
    if '_scope_' in value:  # inherited from another package, which registers the class
        return
    cls = _find(key, kind, position)
    if 'constructor' in value and 'type' not in value:
        return  # a custom constructor reads the section, e.g. several optimizers
    if _name(cls) in _MMDET_HEADS and find_spec('mmdet') is None:
        raise UserError(f'{key}: {_name(cls)} requires mmdet, not installed: pip install mmdet')
    _check_names(key, cls, value, position.extra)
    if position.filled is not None:
        given = {*value, *position.filled}
        missing = [name for name in _arguments(cls).required if name not in given]
        if missing:
            names = ' and '.join(map(repr, missing))
            raise UserError(f'{key}: {_name(cls)} requires {names}, missing in the config')
    if isinstance(value.get('ema_type'), str):
        _find(f'{key}.ema_type', value['ema_type'], _LAYER)
    for child in (key for key in value if key in _POSITIONS):
        below = _position(child, cls)
        if below is not None:
            _validate(f'{key}.{child}', value[child], below)


def _position(key: str, parent: Any) -> _Position | None:
    """Return the position of a key in the config of a class; None disables its validation."""
    kind = parent if inspect.isclass(parent) else object
    if _POSITIONS[key] is _HEAD and issubclass(kind, SearchedEncoderDecoder):
        return _Position(('MODELS',), _FROM_BACKBONE)
    if key == 'optimizer' and issubclass(kind, Hook):
        return _Position(('OPTIM_WRAPPERS', 'OPTIMIZERS'), None)
    if key == 'transforms' and kind.__name__ == 'Albu':  # transforms of albumentations
        return None
    return _POSITIONS[key]


def _find(key: str, kind: Any, position: _Position) -> Callable:
    """Return the class of a type, which is a registered name or a class."""
    if callable(kind):
        return kind
    own = [getattr(registries, name) for name in position.registry]
    for registry in own:
        try:
            found = registry.get(str(kind))
        except RuntimeError:  # raised by mmengine for dotted names of missing modules
            continue
        if found is not None:
            return found
    known = {name for registry in own for name in _names(registry)}
    raise UserError(
        f"{key}: type='{kind}': no such class in the registry {own[0].scope}::{own[0].name}"
        f'{did_you_mean(str(kind), known)}; list modules with your own classes in custom_imports'
    )


def _names(registry: Registry | None) -> Iterator[str]:
    while registry is not None:
        yield from registry.module_dict
        registry = registry.parent


def _name(callee: Callable) -> str:
    return getattr(callee, '__qualname__', str(callee))


def _check_names(
    key: str, callee: Callable, settings: Mapping, extra: frozenset[str] = frozenset()
) -> None:
    """Raise if settings contain an argument that a class or function does not accept."""
    accepted = _arguments(callee).accepted
    if accepted is None:
        return
    for name in settings:
        if name == 'type' or str(name).startswith('_') or name in {*accepted, *extra}:
            continue
        raise UserError(
            f"{key}: {_name(callee)} has no argument '{name}'{did_you_mean(name, accepted)}; it "
            f'accepts {", ".join(accepted)}'
        )


def accepted_arguments(callee: Callable) -> list[str] | None:
    """Return the names of the arguments of a class or function; None if they are unknown.

    Arguments of base classes are included if a constructor only forwards its ``**kwargs`` to
    ``super().__init__``.
    """
    return _arguments(callee).accepted


@dataclass(frozen=True)
class _Arguments:
    """Names of the arguments of a class or function.

    Attributes:
        accepted: All accepted arguments; None if they cannot be determined.
        required: Arguments without a default.
    """

    accepted: list[str] | None
    required: list[str]


def _arguments(callee: Callable) -> _Arguments:
    """Return the arguments of a class or function, see :func:`accepted_arguments`."""
    if inspect.isclass(callee):
        inits = [vars(c)['__init__'] for c in inspect.getmro(callee) if '__init__' in vars(c)]
    else:
        inits = [callee]
    accepted: list[str] = []
    required: list[str] = []
    for depth, init in enumerate(inits):
        try:
            parameters = list(inspect.signature(init).parameters.values())
        except (TypeError, ValueError):  # implemented in C
            break
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        own = [p for p in parameters if p.kind in named and p.name not in ('self', *accepted)]
        accepted += [p.name for p in own]
        if depth == 0:
            required = [p.name for p in own if p.default is p.empty]
        catch_all = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if catch_all is None:
            return _Arguments(accepted, required)
        taken = _forwarded(init, catch_all)
        if taken is None:
            break
        accepted += [name for name in taken if name not in accepted]
    return _Arguments(None, required)


def _forwarded(init: Callable, name: str) -> list[str] | None:
    """Return the names that a constructor pops from its ``**name`` before it forwards the rest.

    Returns:
        Popped names; None if the arguments are passed to anything but ``super().__init__``, or if
        the source is not available.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    taken, passed = [], False
    for use in (n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name):
        parent = parents[use]
        if isinstance(parent, ast.keyword) and parent.arg is None:
            call = parents[parent]
            if not (isinstance(call, ast.Call) and _is_super_init(call)):
                return None
            passed = True
        elif isinstance(parent, ast.Attribute):
            call = parents[parent]
            if parent.attr == 'pop' and isinstance(call, ast.Call) and call.args:
                if not isinstance(call.args[0], ast.Constant):
                    return None
                taken.append(str(call.args[0].value))
        elif not isinstance(parent, (ast.Subscript, ast.Compare)):
            return None
    return taken if passed else None


def _is_super_init(call: ast.Call) -> bool:
    function = ast.unparse(call.func)
    return function.startswith('super(') and function.endswith('__init__')


def _compare_parts(dataset: Any) -> None:
    """Raise for a ConcatDataset whose parts differ in classes or bands, as mmengine would later."""
    if not isinstance(dataset, dict):
        return
    children = dataset.get('datasets') or dataset.get('dataset') or []
    for child in children if isinstance(children, (list, tuple)) else [children]:
        _compare_parts(child)
    if str(dataset.get('type')).split('.')[-1] != 'ConcatDataset':
        return
    ignored = dataset.get('ignore_keys') or ()
    keys = {'classes', 'bands'} - set([ignored] if isinstance(ignored, str) else ignored)
    metainfos = [configured_metainfo(leaf) for leaf in leaf_datasets(dataset)]
    for number, other in enumerate(metainfos[1:], 2):
        for key in sorted(keys):
            first, second = (tuple(metainfo.get(key) or ()) for metainfo in (metainfos[0], other))
            if key == 'bands':
                first, second = band_names(first), band_names(second)
            if first and second and first != second:
                raise UserError(
                    f'the parts of a ConcatDataset must have the same {key}: the first part has '
                    f'{", ".join(first)}, part {number} has {", ".join(second)}'
                )

"""Validation of a config against the registries and the signatures of the classes that it names.

Nothing is built. A class that does not exist, an argument that a class does not accept and one that
it requires are found where the config has them, and reported in one line with the nearest name.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import Registry
from mmseg import registry as registries
from torch.utils.data import DataLoader

from dnas_mmseg.datasets.configs import configured_metainfo, leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import SearchedEncoderDecoder

from .config_checks import did_you_mean


@dataclass(frozen=True)
class _Position:
    """Position in a config at which a class is named.

    Attributes:
        registry: Names of the registries of mmseg that have its class.
        filled: Arguments that code fills in; None where any may be, so that none is missed.
        extra: Keys that the code which builds it takes out.
        default: Class where the config names none; without one, the type is required.
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
    # Taken out by mmcv.cnn.build_norm_layer.
    'norm_cfg': _Position(('MODELS',), None, frozenset({'requires_grad', 'eps'})),
    'dataset': _Position(('DATASETS',), frozenset({'pipeline'})),
    'datasets': _Position(('DATASETS',), frozenset({'pipeline'})),
    'pipeline': _Position(('TRANSFORMS',)),
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
"""Positions by key. Elsewhere a type may be of anything, so it is not looked at."""

_SECTIONS = (
    'model', 'tta_model', 'tta_pipeline', 'optim_wrapper', 'param_scheduler', 'custom_hooks',
    'visualizer', 'val_evaluator', 'test_evaluator', 'log_processor',
)  # fmt: skip
"""Sections that mmengine's runner reads; other keys of a config are variables of its file."""

_LOOPS = {'val_cfg': 'ValLoop', 'test_cfg': 'TestLoop'}
_LOOP_ARGUMENTS = frozenset({'runner', 'dataloader', 'evaluator'})
_LOADER_SETTINGS = frozenset({'num_batch_per_epoch'})
_FROM_BACKBONE = frozenset({'in_channels', 'in_index', 'c1_in_channels'})
"""Arguments of heads that :class:`SearchedEncoderDecoder` takes from the backbone."""


def validate_config(config: Config, *sections: str) -> None:
    """Compare the classes that a config names with the registries and with their signatures.

    Args:
        config: Config of a training or a test.
        *sections: Sections to validate, ``'model'`` for instance; by default all that it has.

    Raises:
        UserError: The first mistake: a class that is not registered, an argument that its class
            does not accept or requires, a setting without its type, or a ConcatDataset of parts
            with other classes or bands.
    """
    for key, value in config.items():
        if sections and key not in sections:
            continue
        if key.endswith('_dataloader') and isinstance(value, Mapping):
            _validate_loader(key, value)
            _compare_parts(value)
        elif key == 'train_cfg' and isinstance(value, Mapping):
            kind = 'EpochBasedTrainLoop' if value.get('by_epoch') else 'IterBasedTrainLoop'
            place = _Position(('LOOPS',), _LOOP_ARGUMENTS, frozenset({'by_epoch'}), kind)
            _validate(key, value, place)
        elif key in _LOOPS and isinstance(value, Mapping):
            _validate(key, value, _Position(('LOOPS',), _LOOP_ARGUMENTS, default=_LOOPS[key]))
        elif key == 'default_hooks' and isinstance(value, Mapping):
            for name, hook in value.items():
                _validate(f'{key}.{name}', hook, _POSITIONS['custom_hooks'])
        elif key in _SECTIONS:
            _validate(key, value, _POSITIONS[key])


def _validate_loader(key: str, loader: Mapping) -> None:
    accepted = [*(_arguments(DataLoader) or _Arguments([], [])).accepted, *_LOADER_SETTINGS]
    for name in _settings(loader):
        if name not in accepted:
            raise UserError(_refuse(key, 'DataLoader', name, accepted))
    _validate(f'{key}.dataset', loader.get('dataset'), _POSITIONS['dataset'])
    for name in ('sampler', 'batch_sampler'):
        _validate(f'{key}.{name}', loader.get(name), _Position(('DATA_SAMPLERS',), None))


def _validate(key: str, value: Any, place: _Position) -> None:
    """Validate what stands at a position: a config of a class, or several of them."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _validate(f'{key}[{i}]', item, place)
    if not isinstance(value, Mapping) or not value:
        return
    kind = value.get('type', place.default)
    if kind is None:
        if all(isinstance(child, Mapping) and 'type' in child for child in value.values()):
            for name, child in value.items():  # several, by name
                _validate(f'{key}.{name}', child, place)
            return
        raise UserError(f'{key}: the config has {dict(value)}, without its type')
    cls = _find(key, kind, place)
    arguments = _arguments(cls)
    if arguments is not None:
        name = getattr(cls, '__name__', str(kind))
        for setting in _settings(value):
            if setting not in {*arguments.accepted, *place.extra}:
                raise UserError(_refuse(key, name, setting, arguments.accepted))
        if place.filled is not None:
            missing = [a for a in arguments.required if a not in {*value, *place.filled}]
            if missing:
                names = ' and '.join(map(repr, missing))
                raise UserError(f'{key}: {name} needs {names}, which the config does not have')
    for child in (key for key in value if key in _POSITIONS):
        below = _position(child, cls)
        if below is not None:
            _validate(f'{key}.{child}', value[child], below)


def _position(key: str, parent: Any) -> _Position | None:
    """Return the position of a key of a class's config; None where anything may stand."""
    kind = parent if inspect.isclass(parent) else object
    if _POSITIONS[key] is _HEAD and issubclass(kind, SearchedEncoderDecoder):
        return _Position(('MODELS',), _FROM_BACKBONE)
    if key == 'optimizer' and issubclass(kind, Hook):
        return _Position(('OPTIM_WRAPPERS', 'OPTIMIZERS'), None)
    if key == 'transforms' and kind.__name__ == 'Albu':  # albumentations' own
        return None
    return _POSITIONS[key]


def _find(key: str, kind: Any, place: _Position) -> Callable:
    """Return the class of a type, which is a registered name or the class itself."""
    if callable(kind):
        return kind
    own = [getattr(registries, name) for name in place.registry]
    for registry in own:
        try:
            found = registry.get(str(kind))
        except RuntimeError:  # mmengine's answer to a name that looks like a module's
            continue
        if found is not None:
            return found
    known = {name for registry in own for name in _names(registry)}
    raise UserError(
        f"{key}: type='{kind}': no such class in the registry {own[0].scope}::{own[0].name}"
        f'{did_you_mean(str(kind), known)}; a module with classes of your own is to be named in '
        'custom_imports'
    )


def _names(registry: Registry | None) -> Iterator[str]:
    while registry is not None:
        yield from registry.module_dict
        registry = registry.parent


def _settings(config: Mapping) -> list[str]:
    """Return the keys of a config that are arguments."""
    return [key for key in config if key != 'type' and not str(key).startswith('_')]


def _refuse(key: str, name: str, setting: str, accepted: list[str]) -> str:
    return (
        f"{key}: {name} has no argument '{setting}'{did_you_mean(setting, accepted)}; it accepts "
        f'{", ".join(accepted)}'
    )


@dataclass(frozen=True)
class _Arguments:
    """Names of the arguments of a class or function: all that it accepts, and those required."""

    accepted: list[str]
    required: list[str]


def _arguments(callee: Callable) -> _Arguments | None:
    """Return the arguments of a class or function; None where they cannot be known.

    Arguments of base classes are accepted where a constructor hands its ``**kwargs`` on to
    ``super().__init__`` and does nothing else with them.
    """
    if inspect.isclass(callee):
        inits = [vars(c)['__init__'] for c in inspect.getmro(callee) if '__init__' in vars(c)]
    else:
        inits = [callee]
    accepted: list[str] = []
    required: list[str] = []
    for depth, init in enumerate(inits):
        try:
            parameters = list(inspect.signature(init).parameters.values())
        except (TypeError, ValueError):  # written in C
            return None
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        own = [p for p in parameters if p.kind in named and p.name not in ('self', *accepted)]
        accepted += [p.name for p in own]
        if depth == 0:
            required = [p.name for p in own if p.default is p.empty]
        catch_all = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if catch_all is None:
            return _Arguments(accepted, required)
        if not _only_forwards(init, catch_all):
            return None
    return None


def _only_forwards(init: Callable, name: str) -> bool:
    """Return whether a constructor uses its ``**name`` in a call of ``super().__init__`` alone."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return False
    uses = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name]
    forwarded = [
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == 'super().__init__'
        for keyword in call.keywords
        if keyword.arg is None
    ]
    return bool(forwarded) and all(any(use is value for value in forwarded) for use in uses)


def _compare_parts(loader: Mapping) -> None:
    """Refuse a ConcatDataset whose parts have other classes or bands, as mmengine would."""
    facts = [configured_metainfo(leaf) for leaf in leaf_datasets(loader.get('dataset'))]
    for number, other in enumerate(facts[1:], 2):
        for key in ('classes', 'bands'):
            first, second = (tuple(f.get(key) or ()) for f in (facts[0], other))
            if first and second and first != second:
                raise UserError(
                    f'the parts of a ConcatDataset need the same {key}: the first one has '
                    f'{", ".join(first)}, part {number} has {", ".join(second)}'
                )

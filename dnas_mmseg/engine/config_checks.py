"""Checks that find mistakes in a config before they cost time; each is reported in one line."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from traceback import walk_tb
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.models import DepthEstimator
from mmseg.models.decode_heads import STDCHead
from torch import nn

from dnas_mmseg.datasets import MultiBandSegDataset, dataset_parts
from dnas_mmseg.errors import UserError

_READ_BY_RUNNER = {
    *inspect.signature(Runner.__init__).parameters,
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'supernet',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
} - {'self', 'cfg'}
"""Settings that have an effect even if a config lacks them."""

_FILLED_IN = {'self', 'runner', 'dataloader', 'evaluator', 'params'}
"""Arguments that are filled in by code, so that no config gives them."""

_UNEXPECTED = re.compile(r"([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r'([\w.<>]+)\(\) missing \d+ required [\w-]+ arguments?: (.+)$')
_UNREGISTERED = re.compile(r'(\S+) is not in the (\S+) registry')
_UNLIKE_PART = re.compile(r'the \d+-th dataset\b')
_UNTYPED = re.compile(r'must contain the key "type", but got (.*)')


def warn(message: str) -> None:
    """Print a warning, once where several processes run the program."""
    if os.environ.get('LOCAL_RANK', '0') == '0':
        print(f'warning: {message}', file=sys.stderr)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for a misspelt word; nothing where no known word is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f' (did you mean {near[0]}?)' if near else ''


def warn_unknown_keys(options: Mapping, config: Mapping, source: str = '--cfg-options') -> None:
    """Warn of overrides that have no effect because nothing reads their first key.

    Args:
        options: Overrides, with dotted or nested keys.
        config: Config that they override.
        source: Option by which the user gave them.
    """
    known = _READ_BY_RUNNER | set(config)
    for key in options:
        first = str(key).split('.')[0]
        if first not in known:
            warn(
                f"{source} {key}: the config has no '{first}'{did_you_mean(first, known)}, so this "
                'has no effect unless code of your own reads it'
            )
        elif first not in _READ_BY_RUNNER:
            # The values that the file made of it are made already.
            warn(
                f"{source} {key}: '{first}' is a variable of the config file, so this has no "
                'effect unless code of your own reads it; override what is made of it, or inherit '
                'the config (--data-root is for the data)'
            )


@contextmanager
def config_errors() -> Iterator[None]:
    """Turn the errors of registries on wrong settings into one line.

    Raises:
        UserError: A class is unknown, or has no such argument, or lacks one.
    """
    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        frames = [frame for frame, _ in walk_tb(error.__traceback__)]
        # Elsewhere than in building from a config such errors are bugs, which need a traceback.
        begin = next((i for i, frame in enumerate(frames) if _builds(frame)), None)
        text = str(error.args[0]) if error.args else ''
        message = None if begin is None else _explain(text, frames[begin:])
        if message is None:
            raise
        raise UserError(message) from error


def _builds(frame: FrameType) -> bool:
    return frame.f_code.co_name.lstrip('_').startswith('build')


def _explain(text: str, frames: list[FrameType]) -> str | None:
    if found := _UNEXPECTED.search(text):
        name, argument = found.groups()
        return _explain_argument(name, argument, frames)
    # The call fails in its caller.
    if (found := _MISSING.search(text)) and _builds(frames[-1]):
        name, arguments = found.groups()
        return f'{_class_name(name)} needs {arguments}, which the config does not give'
    if found := _UNREGISTERED.search(text):
        name, registry = found.groups()
        registries = (frame.f_locals.get('registry') for frame in reversed(frames))
        known = _registered(next((r for r in registries if isinstance(r, Registry)), None))
        return (
            f"type='{name}': no such class in the registry {registry}{did_you_mean(name, known)}; "
            'a module with classes of your own is to be named in custom_imports'
        )
    if found := _UNTYPED.search(text):
        return f'the config has {found[1]} where a class is to be built, without its type'
    if _UNLIKE_PART.search(text):
        return f'the parts of a ConcatDataset need the same classes and bands: {text}'
    return None


def _explain_argument(name: str, argument: str, frames: list[FrameType]) -> str | None:
    """Name the class that was to be built with an argument, and the arguments that it accepts.

    The call that fails may be of a base class; the outermost frame with the setting tells whose it
    is.
    """
    holders = [frame for frame in frames if _holds(frame, argument)]
    if not holders:
        return None
    name = _class_name(name)
    built = [frame.f_locals.get('obj_cls') for frame in holders]
    callee = next(filter(callable, [*built, frames[-1].f_globals.get(name)]), None)
    if callee is None:
        return f"{name} has no argument '{argument}'"
    accepted = _accepted(callee)
    return (
        f"{callee.__name__} has no argument '{argument}'{did_you_mean(argument, accepted)}; it "
        f'accepts {", ".join(accepted)}'
    )


def _holds(frame: FrameType, key: str) -> bool:
    return any(isinstance(v, Mapping) and key in v for v in list(frame.f_locals.values()))


def _class_name(qualified: str) -> str:
    return qualified.removesuffix('.__init__').split('.')[-1]


def _accepted(callee: Callable) -> list[str]:
    """Return the names of the arguments of a class or function, those of base classes included."""
    names: list[str] = []
    inits = [vars(c)['__init__'] for c in inspect.getmro(callee) if '__init__' in vars(c)] if (
        inspect.isclass(callee)
    ) else [callee]  # fmt: skip
    for init in inits:
        parameters = inspect.signature(init).parameters.values()
        names += [
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            and p.name not in (*_FILLED_IN, *names)
        ]
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return names


def _registered(registry: Registry | None) -> set[str]:
    names: set[str] = set()
    while registry is not None:
        names |= set(registry.module_dict)
        registry = registry.parent
    return names


@contextmanager
def single_value_errors() -> Iterator[None]:
    """Explain torch's error on batch norm over one value.

    Raises:
        UserError: Batch norm got one value per channel; the message says what to set.
    """
    try:
        yield
    except ValueError as error:
        if 'Expected more than 1 value per channel when training' not in str(error):
            raise
        raise UserError(
            'batch norm cannot train on one value per channel: a head pools the image to 1x1, and '
            'the batch has one image. Set train_dataloader.batch_size to at least 2 (and '
            'train_dataloader.drop_last=True), or train on several GPUs with --sync-bn, or give '
            "the head a norm without batch statistics, e.g. norm_cfg=dict(type='GN', num_groups=8)"
        ) from error


def check_mixed_precision(config: Config) -> None:
    """Check that mixed precision has a GPU, which it needs.

    Raises:
        UserError: There is no GPU.
    """
    kind = (config.get('optim_wrapper') or {}).get('type')
    if kind == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise UserError(
            'mixed precision (--amp, AmpOptimWrapper) needs a GPU, and none was found: leave it out'
        )


_BACKENDS = {
    'AimVisBackend': ('aim',),
    'ClearMLVisBackend': ('clearml',),
    'DVCLiveVisBackend': ('dvclive',),
    'MLflowVisBackend': ('mlflow',),
    'NeptuneVisBackend': ('neptune',),
    'TensorboardVisBackend': ('tensorboard', 'tensorboardX'),
    'WandbVisBackend': ('wandb',),
}
"""Packages of mmengine's backends, any of which will do; it imports them when a run has begun."""


def check_backends(config: Config) -> None:
    """Check that the packages of the visualizer's backends are installed.

    Raises:
        UserError: One is not; the message says what to install.
    """
    for backend in (config.get('visualizer') or {}).get('vis_backends') or []:
        packages = _BACKENDS.get(str(backend.get('type')), ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f'{backend["type"]} needs {packages[0]}, which is not installed: pip install '
                f'{packages[0]}, or leave the backend out of visualizer.vis_backends'
            )


def check_labelled(datasets: Mapping[str, object]) -> None:
    """Check that each data set has a labelled pixel, looking no further than the first one.

    Args:
        datasets: Data sets, by name.

    Raises:
        UserError: One has none: its scores would be NaN, or nothing would be learnt.
    """
    for split, dataset in datasets.items():
        parts = list(dataset_parts(dataset))
        ours = [part for part in parts if isinstance(part, MultiBandSegDataset) and len(part)]
        if len(ours) < len(parts) or not ours or any(_has_no_labels(part) for part in ours):
            continue
        if not any(part.get_cat_ids(i) for part in ours for i in range(len(part))):
            raise UserError(
                f'no pixel of the {split} data is labelled ({", ".join(p.ann_file for p in ours)}):'
                ' there is nothing to learn or to score. `dnas check CONFIG` shows the labels'
            )


def check_classes(model: nn.Module, datasets: Mapping[str, object]) -> None:
    """Compare the classes of a segmentor's heads with those of its data.

    Args:
        model: Segmentor whose heads are compared.
        datasets: Data sets that it is trained and validated on, by name.

    Raises:
        UserError: The numbers differ, or a head has one class.
    """
    for key, head in _heads(model):
        if head.num_classes == 1:
            raise UserError(
                f'{key}.num_classes=1 learns nothing, as softmax of one class is always 1: set '
                'num_classes=2 for a class and its background, or num_classes=2, out_channels=1 '
                'with a sigmoid loss'
            )
        for split, dataset in datasets.items():
            for part in dataset_parts(dataset):
                classes = getattr(part, 'metainfo', {}).get('classes')
                if classes and len(classes) != head.num_classes:
                    shown = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
                    raise UserError(
                        f'{key}.num_classes={head.num_classes}, but the {split} data set has '
                        f'{len(classes)} classes ({shown}): they must be equal'
                    )


def _heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the heads that learn the classes of the data, each with its place in the config."""
    if isinstance(model, DepthEstimator):
        return
    for name in ('decode_head', 'auxiliary_head'):
        head: Any = getattr(model, name, None)
        several = isinstance(head, nn.ModuleList)
        for i, one in enumerate(head if several else [head]):
            # STDC's learns boundaries.
            if hasattr(one, 'num_classes') and not isinstance(one, STDCHead):
                yield f'model.{name}[{i}]' if several else f'model.{name}', one


def check_labels(datasets: Mapping[str, object], advice: str) -> None:
    """Check that pipelines load labels only where the data have them.

    Args:
        datasets: Data sets, by name.
        advice: Advice about a data set without labels; ``{loading}`` stands for the loading
            transform.

    Raises:
        UserError: A pipeline loads labels that do not exist.
    """
    for split, dataset in datasets.items():
        for part in dataset_parts(dataset):
            steps = getattr(getattr(part, 'pipeline', None), 'transforms', ())
            names = [type(step).__name__ for step in steps]
            loading = next((name for name in names if 'Annotation' in name), None)
            if loading and len(part) and _has_no_labels(part):
                raise UserError(
                    f'the {split} data have no labels (data_prefix.seg_map_path is None), but '
                    f'their pipeline has {loading}: {advice.format(loading=loading)}'
                )


def check_test_labels(dataset, evaluator: Evaluator) -> None:
    """Check that there are labels to score by.

    Raises:
        UserError: The data have none, or the pipeline does not load them.
    """
    check_labels(
        {'test': dataset},
        'remove {loading} from the pipeline and use dnas predict, as there is nothing to score',
    )
    if all(getattr(m, 'format_only', False) for m in evaluator.metrics) or not len(dataset):
        return
    samples = dataset[0].get('data_samples')
    if isinstance(samples, BaseDataElement) and 'gt_sem_seg' not in samples:
        if any(_has_no_labels(part) for part in dataset_parts(dataset)):
            raise UserError(
                'the test data have no labels (data_prefix.seg_map_path is None), so there is '
                'nothing to score: use dnas predict'
            )
        raise UserError(
            "the test pipeline loads no labels to score by: put dict(type='LoadRasterAnnotations') "
            'behind the loading of the image'
        )


def _has_no_labels(part) -> bool:
    prefix = getattr(part, 'data_prefix', None)
    return isinstance(prefix, Mapping) and prefix.get('seg_map_path') is None and (
        'seg_map_path' not in part.get_data_info(0)
    )  # fmt: skip

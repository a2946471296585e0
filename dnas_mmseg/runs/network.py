"""Configs of networks of a search space on the user's data."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.datasets.checks import round_significant
from dnas_mmseg.datasets.configs import SPLITS, leaf_datasets
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.engine.config_validation import accepted_arguments
from dnas_mmseg.engine.configs import load_config, override_config
from dnas_mmseg.errors import UserError, did_you_mean
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.space import SearchSpace
from dnas_mmseg.spaces.supernet import Supernet


class NetworkSource(Protocol):
    """Settings from which the config of a space's network is made.

    Attributes:
        space: Name of the search space.
        config: Config of a network on the user's data, or of the data only; None uses the default
            of the space.
        data_root: Data root, instead of that of the config.
        base_channels: Width of the network, instead of that of the config.
        options: Overrides of the config.
    """

    @property
    def space(self) -> str: ...
    @property
    def config(self) -> str | None: ...
    @property
    def data_root(self) -> str | None: ...
    @property
    def base_channels(self) -> int | None: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def network_config(source: NetworkSource) -> Config:
    """Return the config of a space's network on the user's data.

    It is the user's config with the options. A config without a model only describes
    data, and overrides those of the space's default config. A config of another network, or of an
    encoder that the space contains, keeps its data, statistics, losses and schedule, and gets the
    network of the space's small config (:func:`describe_replacement`). Heads get the input channels
    of each network of the space instead of explicit ones.

    Raises:
        UserError: The config is that of a stage of a search; it has no model and its data have no
            statistics; or its model has a neck.
    """
    space = SPACES[source.space]
    default = CONFIGS / space.config
    config = load_config(source.config or default, data_root=source.data_root)
    if not config.get('model'):
        data, config = config, Config.fromfile(str(default))
        data.pop('model', None)
        _merge_data(config, data)
        _fit_to_data(config)
    require_network(config)
    if not _is_of_space(config, space):
        _replace_network(
            config, Config.fromfile(str(CONFIGS / (space.small_config or space.config)))
        )
    override_config(config, source.options)
    _free_inputs(config)
    config.pop('work_dir', None)  # each run has its own
    if source.base_channels is not None:
        config.model.backbone[space.width] = source.base_channels
    return config


def require_network(config: Config) -> None:
    """Require a config whose model is a network.

    Args:
        config: Config that was loaded from a file.

    Raises:
        UserError: Its backbone is the supernet of a stage of a search.
    """
    kind = (config.model.get('backbone') or {}).get('type')
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if isinstance(found, type) and issubclass(found, Supernet):
        raise UserError(
            f'{config.filename} configures a stage of a search (backbone {found.__name__}): run it '
            'with dnas train, or use the config of a network, in which supernet = dict(...) sets '
            'arguments of the supernets'
        )


def describe_replacement(source: NetworkSource) -> str | None:
    """Return a sentence if :func:`network_config` replaces the network of the config, else None.

    Raises:
        UserError: The config is that of a stage of a search.
    """
    if source.config is None:
        return None
    space, config = SPACES[source.space], load_config(source.config)
    if not config.get('model'):
        return None
    require_network(config)
    if _is_of_space(config, space):
        return None
    return (
        f'{source.config} has no network of space {source.space}, but '
        f'{type_name(config.model.get("backbone") or config.model)}: its data, losses and schedule '
        f'are used with the network of dnas_mmseg::{space.small_config or space.config}'
    )


def architecture_config(config: Config, architecture: str | Mapping | Architecture) -> Config:
    """Return the config that trains an architecture.

    Args:
        config: Config of a network of the space; modified in place.
        architecture: Name, path, document or object of the architecture.
    """
    config.model.backbone.architecture = architecture
    for part in (config.model, config.model.backbone):
        if part.get('init_cfg') is not None:
            part.init_cfg = None  # weights of another network
    return config


def supernet_backbone(space: str, settings: Config, config: Config, layers: int | None) -> Config:
    """Return the config of a supernet.

    Args:
        space: Name of the search space.
        settings: Config of a stage of the space.
        config: Config of a network of the space, whose width and ``supernet`` apply.
        layers: Number of layers; None uses that of ``settings``.

    Raises:
        UserError: The space does not support ``layers``.
    """
    backbone = settings.model.backbone
    shared, own = SPACES[space].shared, config.model.backbone
    backbone.update({key: own[key] for key in shared if key in own})
    if 'architecture' not in backbone and 'layers' not in backbone and layers is not None:
        raise UserError(
            f'layers: space {space} does not support this setting; its configs set the blocks'
        )
    backbone.update(
        {
            name: value
            for name, value in (config.get('supernet') or {}).items()
            if applies_to_stage(space, backbone.type, name, f'supernet.{name}')
        }
    )
    if 'layers' in backbone and layers is not None:
        backbone.layers = layers
    return backbone


def applies_to_stage(space: str, supernet: str, name: str, source: str) -> bool:
    """Return whether the supernet of a stage accepts an argument.

    Args:
        space: Name of the space.
        supernet: Type of the supernet.
        name: Name of the argument.
        source: Setting with the argument, for the error message.

    Raises:
        UserError: No supernet of the space accepts it.
    """
    accepted = _supernet_arguments(supernet)
    if accepted is None or name in accepted:
        return True
    known: set[str] = set()
    for stage in SPACES[space].stages:
        settings = Config.fromfile(str(CONFIGS / stage.config))
        others = _supernet_arguments(settings.model.backbone.type)
        if others is None or name in others:
            return False
        known |= others
    raise UserError(
        f'{source}: no supernet of space {space} has this argument{did_you_mean(name, known)}; '
        f'they accept {", ".join(sorted(known))}'
    )


def _supernet_arguments(supernet: str) -> set[str] | None:
    """Return the arguments of a supernet that users set; None if they are unknown."""
    accepted = accepted_arguments(MODELS.get(supernet))
    # The search sets the architecture that a stage starts from.
    return None if accepted is None else {*accepted} - {'architecture', 'lattice'}


def movable_text(config: Config, data_root: str | None, folder: str | os.PathLike) -> str:
    """Return the text of a config for a file in a folder, with the data root relative to it.

    Args:
        config: The config.
        data_root: Absolute data root of the plan; None leaves that of the config.
        folder: Folder of the file.
    """
    text = config.pretty_text
    if data_root is None or not os.path.isabs(data_root):
        return text
    relative = Path(os.path.relpath(data_root, folder)).as_posix()
    return text.replace(f"data_root='{data_root}'", f"data_root='{{{{ fileDirname }}}}/{relative}'")


def _is_of_space(config: Config, space: SearchSpace) -> bool:
    """Return whether the network of a config is one that a search in a space starts from."""
    backbone = config.model.get('backbone') or {}
    is_encoder = backbone.get('architecture') in space.encoders
    return backbone.get('type') == space.network and not is_encoder


def _replace_network(config: Config, small: Config) -> None:
    """Replace the network of a config by that of another one, on the same bands and classes.

    Raises:
        UserError: The config has no decode head or no normalisation to take over.
    """
    old, new = config.model, small.model
    heads = old.get('decode_head')
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    mean = (old.get('data_preprocessor') or {}).get('mean')
    if not isinstance(head, dict) or not mean:
        raise UserError(
            'the network of the config cannot be replaced by one of the space: it has no '
            'decode_head with num_classes, or no data_preprocessor with mean and std'
        )
    new.data_preprocessor = old.data_preprocessor
    new.backbone.in_channels = len(mean)
    for key in ('num_classes', 'out_channels', 'threshold', 'loss_decode', 'ignore_index'):
        if key in head:
            new.decode_head[key] = head[key]
    config.model = new
    config.optim_wrapper.pop('paramwise_cfg', None)  # names of the other network
    backbone = old.get('backbone') or {}
    if any(backbone.get('type') == space.network for space in SPACES.values()) and (
        backbone['type'] != new.backbone.type
    ):
        config.pop('supernet', None)  # arguments of the other space
    if small.get('supernet') and not config.get('supernet'):
        config.supernet = small.supernet


def _free_inputs(config: Config) -> None:
    """Remove the input channels of the heads, which differ between the networks of a space.

    Raises:
        UserError: The model has a neck, whose input channels differ, too.
    """
    model = config.model
    if type_name(model) not in ('EncoderDecoder', 'SearchedEncoderDecoder'):
        return
    if model.get('neck'):
        raise UserError(
            'model.neck: networks of a space have different channels, which a neck does not follow:'
            ' remove the neck'
        )
    model.type = 'SearchedEncoderDecoder'
    for name in ('decode_head', 'auxiliary_head'):
        heads = model.get(name) or []
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            if head.pop('in_channels', None) is not None:
                head.pop('in_index', None)
            head.pop('c1_in_channels', None)


def _merge_data(config: Config, data: Config) -> None:
    """Merge a config without a model into one with a model.

    A data set with a ``type`` replaces the default one, with the default pipeline if it has none.
    One without a ``type`` overrides values of the default one.
    """
    own = copy.deepcopy(data.to_dict())
    for split in SPLITS:
        loader = own.get(f'{split}_dataloader') or {}
        if 'type' not in (loader.get('dataset') or {}):
            continue
        default = next(leaf_datasets(config[f'{split}_dataloader']))
        for leaf in leaf_datasets(loader):
            for key in ('pipeline', 'test_mode'):
                if key in default:
                    leaf.setdefault(key, copy.deepcopy(default[key]))
        loader['dataset']['_delete_'] = True
    config.merge_from_dict(own)


def _fit_to_data(config: Config) -> None:
    """Set bands, classes and normalisation of the model to those of the training set.

    Raises:
        UserError: The data have no statistics.
    """
    parts = multi_band_parts(DATASETS.build(config.train_dataloader.dataset))
    if not all(part.description.mean for part in parts):
        raise UserError(
            'the config has no model, and the data have no dataset.json with mean and std: add '
            'either (README, "Your own tiles"; `dnas check CONFIG` prints mean and std)'
        )
    shares = np.array([len(part) for part in parts], float)
    means, stds = (np.array([getattr(p.description, k) for p in parts]) for k in ('mean', 'std'))
    mean = np.average(means, axis=0, weights=shares)
    # Standard deviation of the union: the square root of E[x^2] - E[x]^2.
    std = np.sqrt(np.average(stds**2 + means**2, axis=0, weights=shares) - mean**2)
    config.model.data_preprocessor.update(
        mean=[round_significant(value) for value in mean],
        std=[round_significant(value) for value in std],
    )
    config.model.backbone.in_channels = len(parts[0].used_bands)
    config.model.decode_head.num_classes = len(parts[0].metainfo['classes'])

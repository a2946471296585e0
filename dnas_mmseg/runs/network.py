"""Configs of networks of a search space on the user's data."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.datasets.checks import round_significant
from dnas_mmseg.datasets.configs import SPLITS, leaf_datasets
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.space import SearchSpace


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
    network of the space's small config.

    Raises:
        UserError: The config has no model and its data have no statistics.
    """
    space = SPACES[source.space]
    default = CONFIGS / space.config
    config = load_config(source.config or default, data_root=source.data_root)
    if 'model' not in config:
        data, config = config, Config.fromfile(str(default))
        _merge_data(config, data)
        _fit_to_data(config)
    elif not _is_of_space(config, space):
        _replace_network(
            config, Config.fromfile(str(CONFIGS / (space.small_config or space.config)))
        )
    config.merge_from_dict(dict(source.options))
    config.pop('work_dir', None)  # each run has its own
    if source.base_channels is not None:
        config.model.backbone[space.width] = source.base_channels
    return config


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
    backbone.update(config.get('supernet', {}))
    if 'layers' in backbone and layers is not None:
        backbone.layers = layers
    return backbone


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
    backbone = config.model.get('backbone', {})
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
    if small.get('supernet') and not config.get('supernet'):
        config.supernet = small.supernet


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

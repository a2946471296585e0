"""Config of the network that is searched: the user's, or the space's on the user's data."""

from __future__ import annotations

import copy

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.datasets.checks import round_significant
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.registry import SPACES

from .plan import SearchPlan


def network_config(plan: SearchPlan) -> Config:
    """Return the config that all stages and the retraining of a search inherit.

    It is the user's config with the plan's options; where that describes data alone, it is the
    space's default config with these data.

    Raises:
        UserError: The config is of another network than the space's, or its data do not say what a
            model needs to know of them.
    """
    space = SPACES[plan.space]
    default = CONFIGS / space.config
    config = load_config(plan.config or default, data_root=plan.data_root)
    if 'model' not in config:
        data, config = config, Config.fromfile(str(default))
        _merge_data(config, data)
        _fit_to_data(config)
    config.merge_from_dict(plan.options)
    config.pop('work_dir', None)  # each run says its own
    backbone = config.model.get('backbone', {}).get('type')
    if backbone != space.network:
        raise UserError(
            f'{plan.config} is a config of {backbone}; a search in space {plan.space} takes data, '
            f'bands and head from one of {space.network}, configs/{space.config} for instance'
        )
    if plan.base_channels is not None:
        config.model.backbone[space.width] = plan.base_channels
    return config


def _merge_data(config: Config, data: Config) -> None:
    """Put a config that describes data alone over one that has a model.

    A data set that names its type is whole, and takes the place of the default's; it gets the
    default's pipeline where it has none. One without a type changes the default's.
    """
    own = copy.deepcopy(data.to_dict())
    for split in ('train', 'val', 'test'):
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
    """Set the bands, classes and normalisation of the model to those of the training set.

    Raises:
        UserError: The data do not say their statistics.
    """
    parts = multi_band_parts(DATASETS.build(config.train_dataloader.dataset))
    if not all(part.description.mean for part in parts):
        raise UserError(
            'the config has no model, and the data no dataset.json with mean and std: add a model '
            '(README, "Your own tiles"; `dnas check CONFIG` prints mean and std)'
        )
    shares = np.array([len(part) for part in parts], float)
    means, stds = (np.array([getattr(p.description, k) for p in parts]) for k in ('mean', 'std'))
    mean = np.average(means, axis=0, weights=shares)
    # Deviation over all parts: root of the mean square less the square of the mean.
    std = np.sqrt(np.average(stds**2 + means**2, axis=0, weights=shares) - mean**2)
    config.model.data_preprocessor.update(
        mean=[round_significant(value) for value in mean],
        std=[round_significant(value) for value in std],
    )
    config.model.backbone.in_channels = len(parts[0].used_bands)
    config.model.decode_head.num_classes = len(parts[0].metainfo['classes'])

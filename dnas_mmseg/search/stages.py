"""Configs of the stages of a search and of the retraining.

The stages of DNAS decide path, connections and cells in turn, each with its own supernet (Wang et
al. 2022, Remote Sensing 14(16), 3864). Other spaces have a single stage.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.engine.configs import override_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.runs.network import (
    applies_to_stage,
    architecture_config,
    network_config,
    supernet_backbone,
)
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.space import MultiTargetMode, SearchSpace, constructor_arguments

from .plan import SearchPlan

_STAGE_SETTINGS = (
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'auto_scale_lr',
    'log_processor',
)
"""Settings that a stage takes from its own config, with ``epochs`` of the plan."""

_VALIDATION = ('val_cfg', 'val_dataloader', 'val_evaluator')
"""Settings removed from a stage: the score of a supernet is not that of a decoded network."""

_TASK = (
    'num_classes',
    'out_channels',
    'threshold',
    'ignore_index',
    'loss_decode',
    'sampler',
    'align_corners',
)
"""Settings of the task, copied from the head of the network to the head of a supernet."""


def stage_config(
    plan: SearchPlan, level: str, start: str | Mapping | Architecture | None
) -> Config:
    """Return the config of a stage.

    Data and head are those of the network, supernet and training recipe those of the stage.

    Args:
        plan: Settings of the search.
        level: Level that the stage decides.
        start: Architecture decided by the previous stage; None for a space's first stage.

    Raises:
        UserError: The plan does not fit the space or the data.
    """
    space = SPACES[plan.space]
    settings = Config.fromfile(str(CONFIGS / space.stage(level).config))
    config = network_config(plan)
    search = _search_hook(plan, level, settings, config)
    train_dataloader = _half_a(plan, settings.train_dataloader, config)
    config.model = _supernet_model(plan, space, settings, config, start)
    config.train_dataloader = train_dataloader
    for key in _STAGE_SETTINGS:
        config[key] = settings[key]
    if plan.epochs is not None:
        config.train_cfg.max_epochs = config.param_scheduler.T_max = plan.epochs
    for key in (*_VALIDATION, 'load_from'):
        config[key] = None
    # Exact resuming requires the hooks of the stage; the logging interval is the user's.
    hooks = config.get('default_hooks') or {}
    logger = hooks.get('logger', settings.default_hooks.logger)
    config.default_hooks = {**hooks, **settings.default_hooks, 'logger': logger}
    # EMA of the weights belongs to retraining; a search evaluates the weights themselves.
    own = [hook for hook in config.get('custom_hooks') or [] if type_name(hook) != 'EMAHook']
    config.custom_hooks = [*own, search]
    # A step may use only a part of a supernet; the user's model may require this, too.
    if settings.get('find_unused_parameters'):
        config.find_unused_parameters = True
        if config.get('model_wrapper_cfg'):
            config.model_wrapper_cfg.find_unused_parameters = True
    options = _stage_options(plan, settings.model.backbone.type)
    override_config(config, options, '--search-options')
    return config


def retrain_config(plan: SearchPlan, architecture: str | Mapping | Architecture) -> Config:
    """Return the config that trains an architecture.

    Args:
        plan: Settings of the search.
        architecture: Name, path, document or object of the architecture.
    """
    return architecture_config(network_config(plan), architecture)


def supernet_config(plan: SearchPlan) -> dict:
    """Return the config of the first supernet, which contains all networks of the space."""
    first, *_ = SPACES[plan.space].levels
    return stage_config(plan, first, None).model.backbone


def random_architecture(plan: SearchPlan, rng: np.random.Generator, name: str) -> Architecture:
    """Sample a network uniformly from the space of a plan (the random baseline)."""
    return SPACES[plan.space].sample(constructor_arguments(supernet_config(plan)), rng, name)


def multi_target_mode(plan: SearchPlan, level: str) -> MultiTargetMode:
    """Return how a stage of a plan decodes for several targets.

    The mode ``WITHIN`` requires a part of the supernet per target, from the previous stage. If the
    plan begins with such a stage, its mode is ``SEPARATE``.
    """
    mode = SPACES[plan.space].stage(level).multi_target
    if mode is MultiTargetMode.WITHIN and level == plan.levels[0]:
        return MultiTargetMode.SEPARATE
    return mode


def search_hook(config: Config) -> dict:
    """Return the config of a stage's search hook."""
    return next(h for h in config.custom_hooks if h['type'] == 'ArchitectureSearchHook')


def _stage_options(plan: SearchPlan, supernet: str) -> dict[str, Any]:
    """Return the search options without arguments that only supernets of other stages accept."""
    prefix = 'model.backbone.'
    return {
        key: value
        for key, value in plan.search_options.items()
        if not key.startswith(prefix)
        or applies_to_stage(
            plan.space,
            supernet,
            key.removeprefix(prefix).split('.')[0],
            f'--search-options {key}',
        )
    }


def _supernet_model(
    plan: SearchPlan,
    space: SearchSpace,
    settings: Config,
    config: Config,
    start: str | Mapping | Architecture | None,
) -> dict[str, Any]:
    """Return the model with the supernet of the stage, and its head if the space has one."""
    model = config.model
    backbone = supernet_backbone(plan.space, settings, config, plan.layers)
    if 'architecture' in backbone:
        backbone.architecture = start
    if plan.recompute:
        backbone.with_cp = True
    model = {**model, 'backbone': backbone}
    if model.get('init_cfg') is not None:
        model['init_cfg'] = None  # weights of another network
    if space.has_own_head:
        if not isinstance(model['decode_head'], dict):
            raise UserError(f'space {plan.space} requires a single decode_head, not a list')
        task = {key: model['decode_head'][key] for key in _TASK if key in model['decode_head']}
        own = {k: v for k, v in settings.model.decode_head.items() if k != 'loss_decode'}
        model = {**model, 'decode_head': {**own, **task}, 'auxiliary_head': None}
    size = model['data_preprocessor'].get('size')
    if plan.crop is not None and size is not None:  # else crops would be padded to this size
        preprocessor = {**model['data_preprocessor'], 'size': (plan.crop, plan.crop)}
        model = {**model, 'data_preprocessor': preprocessor}
    return model


def _search_hook(plan: SearchPlan, level: str, settings: Config, config: Config) -> dict[str, Any]:
    """Return the config of the stage's search hook with the plan's settings."""
    hook = search_hook(settings)
    settings_of_plan = {'arch_start': plan.arch_start, 'patience': plan.patience}
    hook.update({key: value for key, value in settings_of_plan.items() if value is not None})
    if plan.halves is not None:
        hook['half_b'] = dict(ann_file=os.path.abspath(plan.halves[1]))
    if plan.targets:
        hook['cost'] = dict(
            metric=plan.cost,
            target=list(plan.targets),
            weight=plan.cost_weight,
            size=(plan.cost_size, plan.cost_size),
            table=plan.latency_table,
            network=copy.deepcopy(config.model),
        )
        if len(plan.targets) > 1:
            hook['cost']['several'] = multi_target_mode(plan, level).value
    return hook


def _half_a(plan: SearchPlan, settings: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return the train loader on half A, with the settings required for exact resuming."""
    loader = copy.deepcopy(config.train_dataloader)
    loader.worker_init_fn = settings['worker_init_fn']
    loader.persistent_workers = False
    leaves = list(leaf_datasets(loader))
    if plan.halves is None:
        loader.sampler = {**settings['sampler'], 'split_seed': plan.seed}
    else:
        if len(leaves) > 1 or leaves[0] is not loader.dataset:
            raise UserError('two lists as halves require a plain training set without a wrapper')
        leaves[0]['ann_file'] = os.path.abspath(plan.halves[0])
        loader.sampler = dict(type='DefaultSampler', shuffle=True)
    if plan.batch is not None:
        loader.batch_size = plan.batch
    if plan.crop is not None:
        for leaf in leaves:
            _set_crop(leaf, plan.crop)
    return loader


def _set_crop(dataset: dict, crop: int) -> None:
    """Set the crop size of the pipeline; without a crop, insert one after loading of labels."""
    pipeline = dataset['pipeline']
    step = next((step for step in pipeline if step['type'] == 'RandomCrop'), None)
    if step is None:
        after = [i for i, step in enumerate(pipeline) if 'Annotations' in step['type']]
        step = dict(type='RandomCrop')
        pipeline.insert(after[-1] + 1 if after else 1, step)
    step['crop_size'] = (crop, crop)

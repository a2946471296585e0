"""Latency of the parts of a search space on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dnas_mmseg.cost.parts import latency_table, segmentor_cost
from dnas_mmseg.cost.table import CostTable

from .plan import SearchPlan
from .stages import random_architecture, retrain_config, supernet_config

_NETWORKS = 5


def measure_space(
    plan: SearchPlan,
    size: tuple[int, int],
    repeat: int = 15,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Measure the parts of a space, and calibrate them by whole networks.

    The sum of a network's parts leaves out the time to move tensors between them. All parts are
    multiplied by the median of measured / predicted over a few networks drawn at random.

    Args:
        plan: Plan with the space, config and number of layers.
        size: Height and width of the images, in pixels.
        repeat: Number of runs, of which the median counts.
        advance: Function that is called with the number of parts done and of all parts.

    Returns:
        Table of latencies; its facts have the factor as ``calibration``.
    """
    init_default_scope('mmseg')
    device = get_device()
    supernet = MODELS.build(supernet_config(plan))
    draws = [random_architecture(plan, np.random.default_rng(i), 'drawn') for i in range(_NETWORKS)]
    configs = [retrain_config(plan, drawn) for drawn in draws]
    table = latency_table(supernet.parts(configs[0].model, size), device, repeat, advance)
    costs = supernet.cost_model(table)
    ratios = []
    for drawn, config in zip(draws, configs, strict=True):
        config.model.pop('auxiliary_head', None)
        ratios.append(segmentor_cost(config.model, 'latency', size) / costs.cost(drawn))
    factor = statistics.median(ratios)
    values = {name: factor * value for name, value in table.values.items()}
    return replace(table, values=values, facts={**table.facts, 'calibration': round(factor, 4)})

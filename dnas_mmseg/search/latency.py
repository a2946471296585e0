"""Latency measurement of the parts of a search space."""

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
"""Number of random networks for the calibration; an odd number with a median that tolerates two
outliers."""


def measure_space(
    plan: SearchPlan,
    size: tuple[int, int],
    repeat: int = 15,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Measure the latency of all parts of a space on this machine, and calibrate them.

    The sum of a network's parts does not include the time to move tensors between them. Therefore
    all values are multiplied by the median ratio of measured and predicted latency over random
    networks.

    Args:
        plan: Plan with the space, config and number of layers.
        size: Height and width of the images, in pixels.
        repeat: Number of runs per part; the median counts.
        advance: Progress callback, called with the number of measured parts and of all parts.

    Returns:
        Table of latencies in seconds; its ``facts`` contain the factor as ``calibration``.
    """
    init_default_scope('mmseg')
    device = get_device()
    supernet = MODELS.build(supernet_config(plan))
    networks = [
        random_architecture(plan, np.random.default_rng(i), 'random') for i in range(_NETWORKS)
    ]
    configs = [retrain_config(plan, network) for network in networks]
    table = latency_table(supernet.parts(configs[0].model, size), device, repeat, advance)
    costs = supernet.cost_model(table)
    ratios = []
    for network, config in zip(networks, configs, strict=True):
        config.model.pop('auxiliary_head', None)
        ratios.append(segmentor_cost(config.model, 'latency', size) / costs.cost(network))
    factor = statistics.median(ratios)
    values = {name: factor * value for name, value in table.values.items()}
    return replace(table, values=values, facts={**table.facts, 'calibration': round(factor, 4)})

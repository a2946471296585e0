"""Cost tables of a space's parts: counted multiply-adds and parameters, measured latency."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from mmengine.device import get_device
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.models.deployment import switch_to_deploy
from dnas_mmseg.models.layers.input_bands import count_input_bands
from dnas_mmseg.models.placement import place

from .counting import count, count_parameters
from .measuring import seconds_of
from .table import CostTable

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


class Part(NamedTuple):
    """A part of a space's networks.

    Attributes:
        name: Name of the part in tables.
        module: Module of the part alone.
        shapes: Shapes of its input tensors.
    """

    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Parts:
    """All parts of a space's networks; the cost of a network is the sum over its parts.

    Attributes:
        facts: Settings that costs depend on: space, width, bands, size of the images, head.
        modules: Parts, each built when the iterator reaches it.
    """

    facts: Mapping[str, Any]
    modules: Iterator[Part]


class Backbone(Protocol):
    """Interface of the supernet or network whose parts are listed."""

    in_channels: int
    norm_cfg: dict


def space_parts(
    space: str,
    backbone: Backbone,
    model: Mapping[str, Any],
    size: tuple[int, int],
    modules: Iterator[Part],
    **facts: Any,
) -> Parts:
    """Return the parts of a space's networks, with the settings that all spaces share.

    Args:
        space: Name of the space.
        backbone: Supernet of the space.
        model: Config of the segmentor of the searched network, for its head.
        size: Height and width of the images.
        modules: Parts.
        **facts: Further settings that costs depend on, such as widths and operations.
    """
    common = {
        'space': space,
        'bands': backbone.in_channels,
        'size': list(size),
        'norm': _norm_name(backbone.norm_cfg),
        'head': head_settings(model),
    }
    return Parts({**common, **facts}, modules)


class _Outputs(nn.Module):
    """Stand-in for a backbone that only declares its output channels."""

    def __init__(self, out_channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(out_channels)


class _Head(nn.Module):
    """The head of a segmentor, applied to feature maps."""

    def __init__(self, segmentor: BaseSegmentor) -> None:
        super().__init__()
        self.head = segmentor.decode_head

    def forward(self, *features: Tensor) -> Tensor:
        return self.head(features)


class AddedTo(nn.Module):
    """A module whose output is added to another input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, total: Tensor) -> Tensor:
        return total.add_(self.module(x))


def head_on(model: Mapping[str, Any], channels: Sequence[int]) -> nn.Module:
    """Build the head of a segmentor for other input channels.

    Args:
        model: Config of the segmentor; its head must not set ``in_channels``.
        channels: Numbers of channels of the backbone's outputs, finest first.
    """
    config = {key: value for key, value in model.items() if key in ('type', 'decode_head')}
    config['backbone'] = dict(type=_Outputs, out_channels=list(channels))
    return _Head(MODELS.build(config))


def head_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a head's config that its cost depends on, as JSON values."""
    head = {key: value for key, value in model['decode_head'].items() if 'loss' not in key}
    return json.loads(json.dumps(head, default=str))


def norm_on_one_device(norm_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a normalisation for measurements, with BN in place of SyncBN."""
    return {**norm_cfg, 'type': norm_cfg['type'].replace('SyncBN', 'BN')}


def _norm_name(norm_cfg: Mapping[str, Any]) -> str:
    """Return the name of a normalisation in cost tables: its type, and its groups if it has any."""
    groups = norm_cfg.get('num_groups')
    kind = norm_on_one_device(norm_cfg)['type']
    return kind if groups is None else f'{kind} of {groups} groups'


_counted: dict[tuple[str, str], dict[str, float]] = {}
"""Counts by metric and facts: the stages and targets of a search have the same parts."""


def cost_table(parts: Parts, metric: str) -> CostTable:
    """Count the multiply-adds or parameters of the parts of a space's networks.

    Parts with the same facts are counted once per process.

    Args:
        parts: Parts, from :meth:`dnas_mmseg.spaces.supernet.Supernet.parts`.
        metric: ``'macs'`` or ``'params'``.
    """
    key = metric, json.dumps(parts.facts, sort_keys=True)
    if key not in _counted:
        _counted[key] = {
            name: count_parameters(part)
            if metric == 'params'
            else count(part.eval(), part, *shapes).macs
            for name, part, shapes in parts.modules
        }
    return CostTable(metric, parts.facts, dict(_counted[key]))


def latency_table(
    parts: Parts,
    device: str = 'cpu',
    repeat: int = 15,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Measure the latency of the parts of a space's networks, in float32 at batch size 1.

    Parts are measured in their deployed form (:func:`switch_to_deploy`).

    Args:
        parts: Parts, from :meth:`dnas_mmseg.spaces.supernet.Supernet.parts`.
        device: Device to measure on.
        repeat: Number of runs per part; the table contains their median.
        advance: Callback for progress, called with the numbers of measured and of all parts.
    """
    modules = list(parts.modules)
    values = {}
    for name, part, shapes in modules:
        inputs = [
            torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
            for shape in shapes
        ]
        values[name] = latency(place(switch_to_deploy(part), device), inputs, repeat)
        advance(len(values), len(modules))
    return CostTable('latency', latency_facts(parts.facts, device), values)


def latency_facts(facts: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the settings that measured costs depend on: ``facts`` and the runtime environment."""
    on_cpu = device.startswith('cpu')
    if device.startswith('cuda'):
        name = torch.cuda.get_device_name(device)
    else:
        name = processor_name() if on_cpu else device.split(':')[0]
    threads = torch.get_num_threads() if on_cpu else None
    return {**facts, 'device': name, 'threads': threads, 'dtype': 'float32', 'form': 'deployed'}


def processor_name() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def segmentor_cost(model: Mapping[str, Any], metric: str, size: tuple[int, int]) -> float:
    """Return the cost of a segmentor for one image; latency is measured in the deployed form.

    Args:
        model: Config of the segmentor.
        metric: Metric, one of :data:`dnas_mmseg.cost.table.METRICS`.
        size: Height and width of the image, in pixels.
    """
    segmentor = MODELS.build(model).eval()
    shape = (1, count_input_bands(segmentor.backbone), *size)
    if metric == 'latency':
        device = get_device()
        segmentor = place(switch_to_deploy(segmentor), device)
        return latency(segmentor, [torch.randn(shape, device=device)], repeat=15)
    counted = count(segmentor, segmentor, shape)
    return counted.macs if metric == 'macs' else counted.parameters


@torch.no_grad()
def latency(module: Callable, inputs: Sequence[Tensor], repeat: int) -> float:
    """Return the median time of ``repeat`` calls in seconds, after two warm-up calls."""
    device = str(inputs[0].device)
    times = [seconds_of(lambda: module(*inputs), device) for _ in range(repeat + 2)]
    return statistics.median(times[2:])

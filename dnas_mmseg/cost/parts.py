"""Cost tables of a space's parts: multiply-adds and parameters counted, latency measured."""

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
        shapes: Shapes of the tensors that it takes.
    """

    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Parts:
    """All parts of a space's networks; a network's cost is the sum of its parts'.

    Attributes:
        facts: Facts that a table of the parts holds for: space, width, bands, size of the images,
            head.
        modules: Parts, each built once, when it is asked for.
    """

    facts: Mapping[str, Any]
    modules: Iterator[Part]


class Backbone(Protocol):
    """Supernet or network whose parts are listed."""

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
    """Return the parts of a space's networks, with the facts that every space has.

    Args:
        space: Name of the space.
        backbone: Supernet of the space.
        model: Config of the segmentor that the found network will be in, for its head.
        size: Height and width of the images.
        modules: Parts.
        **facts: Further facts on which costs depend: widths and operations.
    """
    common = {
        'space': space,
        'bands': backbone.in_channels,
        'size': list(size),
        'norm': norm_fact(backbone.norm_cfg),
        'head': head_settings(model),
    }
    return Parts({**common, **facts}, modules)


class _Outputs(nn.Module):
    """Stand-in for a backbone of which only the outputs are known."""

    def __init__(self, out_channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(out_channels)


class _Head(nn.Module):
    """A segmentor's head, on feature maps."""

    def __init__(self, segmentor: BaseSegmentor) -> None:
        super().__init__()
        self.head = segmentor.decode_head

    def forward(self, *features: Tensor) -> Tensor:
        return self.head(features)


class AddedTo(nn.Module):
    """A module whose output is added to a given map."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, total: Tensor) -> Tensor:
        return total.add_(self.module(x))


def head_on(model: Mapping[str, Any], channels: Sequence[int]) -> nn.Module:
    """Return the head of a segmentor, on a backbone with other outputs.

    Args:
        model: Config of the segmentor; its head must leave out its input channels.
        channels: Numbers of channels of the outputs, finest first.
    """
    config = {key: value for key, value in model.items() if key in ('type', 'decode_head')}
    config['backbone'] = dict(type=_Outputs, out_channels=list(channels))
    return _Head(MODELS.build(config))


def head_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a head's config on which its cost depends, as JSON has them."""
    head = {key: value for key, value in model['decode_head'].items() if 'loss' not in key}
    return json.loads(json.dumps(head, default=str))


def norm_on_one_device(norm_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normalisation that a part is measured with, in one process.

    The cost of the searched network does not depend on how it is trained.
    """
    return {**norm_cfg, 'type': norm_cfg['type'].replace('SyncBN', 'BN')}


def norm_fact(norm_cfg: Mapping[str, Any]) -> str:
    """Return a normalisation as latency tables name it: its type, and groups if it has them."""
    groups = norm_cfg.get('num_groups')
    kind = norm_on_one_device(norm_cfg)['type']
    return kind if groups is None else f'{kind} of {groups} groups'


def cost_table(parts: Parts, metric: str) -> CostTable:
    """Count the parts of a space's networks.

    Args:
        parts: Parts of the space, at some width, bands and size of images.
        metric: Metric of the table, ``'macs'`` or ``'params'``.
    """
    values = {}
    for name, part, shapes in parts.modules:
        if metric == 'params':
            values[name] = count_parameters(part)
        else:
            values[name] = count(part.eval(), part, *shapes).macs
    return CostTable(metric, parts.facts, values)


def latency_table(
    parts: Parts,
    device: str = 'cpu',
    repeat: int = 15,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Measure the parts of a space's networks on this machine, in float32, one image at a time.

    All are in the form in which they predict (:func:`switch_to_deploy`).

    Args:
        parts: Parts of the space, at some width, bands and size of images.
        device: Device that they run on.
        repeat: Number of runs, of which the median counts.
        advance: Function that is called with the number of parts done and of all parts.
    """
    modules = list(parts.modules)
    values = {}
    for name, part, shapes in modules:
        inputs = [
            torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
            for shape in shapes
        ]
        values[name] = latency(switch_to_deploy(part).to(device), inputs, repeat)
        advance(len(values), len(modules))
    return CostTable('latency', latency_facts(parts.facts, device), values)


def latency_facts(facts: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the facts that a measured table holds for."""
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
    """Return a segmentor's cost on one image: counted, or measured as it predicts here.

    Args:
        model: Config of the segmentor.
        metric: Metric, one of :data:`dnas_mmseg.cost.table.METRICS`.
        size: Height and width of the image, in pixels.
    """
    segmentor = MODELS.build(model).eval()
    shape = (1, count_input_bands(segmentor.backbone), *size)
    if metric == 'latency':
        device = get_device()
        segmentor = switch_to_deploy(segmentor).to(device)
        return latency(segmentor, [torch.randn(shape, device=device)], repeat=15)
    counted = count(segmentor, segmentor, shape)
    return counted.macs if metric == 'macs' else counted.parameters


@torch.no_grad()
def latency(module: Callable, inputs: Sequence[Tensor], repeat: int) -> float:
    """Return the median time of a call in seconds, after two that warm up."""
    device = str(inputs[0].device)
    times = [seconds_of(lambda: module(*inputs), device) for _ in range(repeat + 2)]
    return statistics.median(times[2:])

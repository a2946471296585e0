"""Cost tables of a space's parts: multiply-adds and parameters counted, latency measured."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.models.deployment import switch_to_deploy

from .counting import count
from .measuring import seconds_of
from .table import CostTable


class _Outputs(nn.Module):
    """Stands for a backbone of which only the outputs are known."""

    def __init__(self, out_channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(out_channels)


class _Head(nn.Module):
    """A segmentor's head, on feature maps."""

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.head = segmentor.decode_head

    def forward(self, *features: Tensor) -> Tensor:
        return self.head(features)


class AddedTo(nn.Module):
    """A module, with what its output is added to."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, total: Tensor) -> Tensor:
        return total.add_(self.module(x))


def head_on(model: Mapping[str, Any], channels: Sequence[int]) -> nn.Module:
    """The head of a segmentor, on a backbone with other outputs.

    Args:
        model: Config of the segmentor; its head must leave out its input channels.
        channels: Of the outputs, finest first.
    """
    config = {key: value for key, value in model.items() if key in ('type', 'decode_head')}
    config['backbone'] = dict(type=_Outputs, out_channels=list(channels))
    return _Head(MODELS.build(config))


def head_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a head's config its cost depends on, as it comes back from JSON."""
    head = {key: value for key, value in model['decode_head'].items() if 'loss' not in key}
    return json.loads(json.dumps(head, default=str))


def cost_table(
    supernet: nn.Module, model: Mapping[str, Any], metric: str, size: tuple[int, int]
) -> CostTable:
    """Count the parts of a space's networks.

    Args:
        supernet: Of the space; its width and bands are those of the networks.
        model: Config of the segmentor, for the head.
        metric: ``'macs'`` or ``'params'``.
        size: Height and width of the images.
    """
    values = {}
    for name, part, shapes in supernet.cost_parts(model, size):
        counted = count(part.eval(), part, *shapes)
        values[name] = counted.macs if metric == 'macs' else counted.parameters
    return CostTable(metric, supernet.cost_facts(model, size), values)


def latency_table(
    supernet: nn.Module,
    model: Mapping[str, Any],
    size: tuple[int, int],
    device: str = 'cpu',
    repeat: int = 15,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> CostTable:
    """Measure the parts of a space's networks on this machine, in float32, one image at a time.

    All are in the form in which they predict (:func:`switch_to_deploy`).

    Args:
        supernet, model, size: See :func:`cost_table`.
        device: Where.
        repeat: Of these runs, the median counts.
        advance: Called with the parts done and all there are.
    """
    parts = list(supernet.cost_parts(model, size))
    values = {}
    for name, part, shapes in parts:
        inputs = [
            torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
            for shape in shapes
        ]
        values[name] = latency(switch_to_deploy(part).to(device), inputs, repeat)
        advance(len(values), len(parts))
    return CostTable('latency', latency_facts(supernet.cost_facts(model, size), device), values)


def latency_facts(facts: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return what a measured table holds for."""
    on_cpu = device.startswith('cpu')
    if device.startswith('cuda'):
        name = torch.cuda.get_device_name(device)
    else:
        name = processor_name() if on_cpu else device.split(':')[0]
    threads = torch.get_num_threads() if on_cpu else None
    return {**facts, 'device': name, 'threads': threads, 'dtype': 'float32', 'form': 'deployed'}


def processor_name() -> str:
    """The CPU's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def segmentor_cost(model: Mapping[str, Any], metric: str, size: tuple[int, int]) -> float:
    """Return a segmentor's cost on one image: counted, or measured as it predicts here.

    Args:
        model: Its config.
        metric: One of :data:`dnas_mmseg.cost.table.METRICS`.
        size: Height and width of the image.
    """
    segmentor = MODELS.build(model).eval()
    shape = (1, segmentor.backbone.in_channels, *size)
    if metric == 'latency':
        device = get_device()
        segmentor = switch_to_deploy(segmentor).to(device)
        return latency(segmentor, [torch.randn(shape, device=device)], repeat=15)
    counted = count(segmentor, segmentor, shape)
    return counted.macs if metric == 'macs' else counted.parameters


@torch.no_grad()
def latency(module: Callable, inputs: Sequence[Tensor], repeat: int) -> float:
    """Median seconds of a call, after two that warm up."""
    device = str(inputs[0].device)
    times = [seconds_of(lambda: module(*inputs), device) for _ in range(repeat + 2)]
    return statistics.median(times[2:])

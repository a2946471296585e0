"""Time and memory of training and search steps compared with the plain formulation.

    python -m benchmarks.training
    python -m benchmarks.training --what cell --size 512 --threads 8
    python -m benchmarks.training --what autodeeplab --layers 12 --size 321

A retraining step consists of forward, loss and backward of the searched network; a search iteration
of a stage or of another space, of a step of the weights and one of the architecture parameters. The
variants share weights and are measured in alternating rounds. In the plain formulation of DNAS,
every edge resizes its input, weights multiply outputs, the head convolves the concatenated outputs,
nothing is pruned, and both steps compute all gradients. Memory is the peak of the resident set (on
GPUs, of the allocator) above its value before the step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.models.layers.recompute import untracked_statistics
from dnas_mmseg.spaces.supernet import Supernet, architecture_gradients

from .plain import plain_logits
from .side_by_side import machine, measure, parser, table

DNAS = {
    'retraining': lambda layers: dict(type='DNAS', architecture=f'dnas_l{layers}_gid5'),
    'path': lambda layers: dict(type='DNASPathSupernet', layers=layers),
    'connection': lambda layers: dict(
        type='DNASConnectionSupernet', architecture=f'dnas_l{layers}_gid5@path'
    ),
    'cell': lambda layers: dict(
        type='DNASCellSupernet', architecture=f'dnas_l{layers}_gid5@connection'
    ),
}
OTHERS = {
    'autodeeplab': (
        lambda layers: dict(type='AutoDeepLabSupernet', layers=layers),
        dict(type='AutoDeepLabSearchHead'),
    ),
    'densenas': (
        lambda layers: dict(type='DenseNASSupernet'),
        dict(type='DepthwiseSeparableASPPHead', channels=256, c1_channels=48),
    ),
}
"""Supernets of other spaces with default widths, and their heads; no plain form is available."""


def build(what: str, layers: int, base_channels: int, **backbone) -> nn.Module:
    if what in DNAS:
        backbone = dict(**DNAS[what](layers), base_channels=base_channels, **backbone)
        head = dict(type='DNASHead')
    else:
        backbone, head = OTHERS[what][0](layers), OTHERS[what][1]
    loss = dict(type='LabelledCrossEntropyLoss')
    return MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=backbone,
            decode_head=dict(**head, num_classes=5, loss_decode=loss),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
    ).train()


def own_logits(model: nn.Module, x: Tensor) -> Tensor:
    return F.interpolate(model(x), x.shape[2:], mode='bilinear', align_corners=True)


def plain_step(model: nn.Module, image: Tensor, label: Tensor) -> None:
    for p in model.parameters():
        p.requires_grad_(True)
    for _ in range(1 + isinstance(model.backbone, Supernet)):
        F.cross_entropy(plain_logits(model, image), label).backward()
    model.zero_grad(set_to_none=True)


def own_step(model: nn.Module, image: Tensor, label: Tensor, with_cp: bool) -> None:
    model.backbone.with_cp = with_cp
    if not isinstance(model.backbone, Supernet):
        F.cross_entropy(own_logits(model, image), label).backward()
        model.zero_grad(set_to_none=True)
        return
    architecture = list(model.backbone.architecture_parameters().values())
    for p in architecture:
        p.requires_grad_(False)
    model.backbone.sample('weights', True, np.random.default_rng(0))
    F.cross_entropy(own_logits(model, image), label).backward()
    model.backbone.sample('architecture', True, np.random.default_rng(1))
    with architecture_gradients(model, architecture), untracked_statistics(model):
        loss = F.cross_entropy(own_logits(model, image), label)
        torch.autograd.grad(loss, architecture)
    model.zero_grad(set_to_none=True)


def steps(what: str, args: argparse.Namespace, device: str) -> dict[str, Callable[[], None]]:
    """Return the variants by name; the first one is the baseline."""
    torch.manual_seed(0)
    model = build(what, args.layers, args.base_channels).to(device)
    image = torch.randn(args.batch, 4, args.size, args.size, device=device)
    label = torch.randint(0, 5, (args.batch, args.size, args.size), device=device)
    variants = {
        'optimised': partial(own_step, model, image, label, False),
        'optimised, recomputing': partial(own_step, model, image, label, True),
    }
    if what not in DNAS:
        return variants
    plain = model
    if what == 'retraining':
        plain = build(what, args.layers, args.base_channels, prune=False).to(device)
    return {'plain': partial(plain_step, plain, image, label), **variants}


def main() -> None:
    options = parser(__doc__, repeat=5)
    options.add_argument('--what', nargs='+', choices=[*DNAS, *OTHERS], default=list(DNAS))
    options.add_argument('--layers', type=int, default=14, help='12 or 14 for DNAS')
    options.add_argument('--base-channels', type=int, default=40)
    options.add_argument('--size', type=int, default=256)
    options.add_argument('--batch', type=int, default=2)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    init_default_scope('mmseg')
    rows = []
    for what in args.what:
        results = measure(steps(what, args, device), args.repeat, device)
        first = next(iter(results.values()))
        for form, (seconds, memory) in results.items():
            ratios = f'{first.seconds / seconds:.2f}', f'{memory / first.memory:.2f}'
            rows.append([what, form, f'{seconds:.2f}', ratios[0], f'{memory:.0f}', ratios[1]])
    print(
        f'L={args.layers}, base {args.base_channels}, {args.batch} x 4 x {args.size} x '
        f'{args.size}, float32; {machine()}'
    )
    head = ['Step', 'Form', 's', 'speed-up', 'peak MiB', 'relative memory']
    print(f'\n{table(head, rows)}')


if __name__ == '__main__':
    main()

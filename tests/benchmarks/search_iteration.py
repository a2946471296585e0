"""A search iteration (weight and architecture step) of each stage, against the plain form.

    python -m tests.benchmarks.search_iteration
    python -m tests.benchmarks.search_iteration --size 512 --threads 8 --out iteration.md
    python -m tests.benchmarks.search_iteration --stages autodeeplab --layers 12 --size 321

Same weights, same process, the variants in turn. Plain (of DNAS's stages): every edge resizes its
input, weights multiply outputs, the head reads a concatenation, and both steps compute all
gradients. Memory is the peak of the resident set above where the step began (on GPUs, of the
allocator).
"""

from __future__ import annotations

import argparse
import platform
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.models.measuring import peak_memory, seconds_of
from dnas_mmseg.models.recompute import untracked_statistics
from dnas_mmseg.models.supernet import architecture_gradients

from .plain import plain_logits

STAGES = {
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
"""Supernets of other spaces at their own width, with their heads; they have no plain form."""

VARIANTS = ('plain', 'here', 'here, recomputing')


def build(stage: str, layers: int, base_channels: int) -> nn.Module:
    if stage in STAGES:
        backbone = dict(**STAGES[stage](layers), base_channels=base_channels)
        head = dict(type='DNASHead')
    else:
        build_backbone, head = OTHERS[stage]
        backbone = build_backbone(layers)
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


def plain_iteration(model: nn.Module, image: Tensor, label: Tensor) -> None:
    for p in model.parameters():
        p.requires_grad_(True)
    for _ in range(2):
        F.cross_entropy(plain_logits(model, image), label).backward()


def own_iteration(model: nn.Module, image: Tensor, label: Tensor) -> None:
    architecture = list(model.backbone.architecture_parameters().values())
    for p in architecture:
        p.requires_grad_(False)
    model.backbone.sample('weights', True, np.random.default_rng(0))
    F.cross_entropy(own_logits(model, image), label).backward()
    model.backbone.sample('architecture', True, np.random.default_rng(1))
    with architecture_gradients(model, architecture), untracked_statistics(model):
        loss = F.cross_entropy(own_logits(model, image), label)
        torch.autograd.grad(loss, architecture)


def benchmark(stage: str, args: argparse.Namespace, device: str) -> list[str]:
    model = build(stage, args.layers, args.base_channels).to(device)
    image = torch.randn(args.batch, 4, args.size, args.size, device=device)
    label = torch.randint(0, 5, (args.batch, args.size, args.size), device=device)
    variants = VARIANTS[0 if stage in STAGES else 1 :]
    results: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
    for turn in range(args.repeat + 1):
        for variant in variants:
            model.backbone.with_cp = 'recomputing' in variant
            iteration = plain_iteration if variant == 'plain' else own_iteration
            call = partial(iteration, model, image, label)
            memory = peak_memory(call, device)  # warms up, too
            model.zero_grad(set_to_none=True)
            seconds = seconds_of(call, device)
            model.zero_grad(set_to_none=True)
            if turn:
                results[variant].append((seconds, memory))
    rows = []
    first = [statistics.median(values) for values in zip(*results[variants[0]], strict=True)]
    for variant in variants:
        seconds, memory = (statistics.median(v) for v in zip(*results[variant], strict=True))
        rows.append(
            f'| {stage} | {variant} | {seconds:.2f} | {seconds / first[0]:.2f} '
            f'| {memory / 2**20:.0f} | {memory / first[1]:.2f} |'
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--stages', nargs='+', choices=[*STAGES, *OTHERS], default=list(STAGES))
    parser.add_argument('--layers', type=int, default=14, help='12 or 14 of DNAS')
    parser.add_argument('--base-channels', type=int, default=40)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, help='also write the table there')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    init_default_scope('mmseg')
    lines = [
        f'L={args.layers}, base {args.base_channels}, '
        f'{args.batch} x 4 x {args.size} x {args.size}, float32, {device}, {args.threads} threads '
        f'({platform.machine()}), torch {torch.__version__}; medians of {args.repeat}',
        '',
        '| stage | form | s | of the first | peak MiB | of the first |',
        '|---|---|---:|---:|---:|---:|',
    ]
    for stage in args.stages:
        lines += benchmark(stage, args, device)
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text('\n'.join(lines) + '\n')
    print('\n'.join(['', *lines]))


if __name__ == '__main__':
    main()

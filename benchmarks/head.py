"""Speed-up of a training step by low-resolution convolutions in the head.

    python -m benchmarks.head --threads 2

Measures forward, loss and backward of DNAS in alternating rounds: with
``dnas_mmseg.models.layers.upsampled_conv`` (the default), and with all inputs of the head upsampled
before its first convolution.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from mmengine.registry import init_default_scope

from dnas_mmseg.models.layers.upsampled_conv import published_order

from .side_by_side import machine, measure, parser, table
from .training import build, own_step


def published_step(*args) -> None:
    """Run a training step whose head upsamples before its first convolution."""
    with published_order():
        own_step(*args)


def rows(layers: int, args: argparse.Namespace) -> list[list[str]]:
    """Measure both forms of the head."""
    torch.manual_seed(0)
    model = build('retraining', layers, args.base_channels)
    image = torch.randn(args.batch, 4, args.size, args.size)
    label = torch.randint(0, 5, (args.batch, args.size, args.size))
    steps = {'default': own_step, 'upsampled, then convolved': published_step}
    calls = {name: partial(step, model, image, label, False) for name, step in steps.items()}
    results = measure(calls, args.repeat)
    first = results['default']
    return [
        [f'L={layers}', name, f'{seconds:.3f}', f'{seconds / first.seconds:.2f}', f'{memory:.0f}']
        for name, (seconds, memory) in results.items()
    ]


def main() -> None:
    options = parser(__doc__, repeat=9)
    options.add_argument('--base-channels', type=int, default=40)
    options.add_argument('--size', type=int, default=256)
    options.add_argument('--batch', type=int, default=2)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    found = [row for layers in (12, 14) for row in rows(layers, args)]
    print(
        f'base {args.base_channels}, {args.batch} x 4 x {args.size} x {args.size}, float32; '
        f'{machine()}'
    )
    head = ['Network', 'Head', 's per training step', 'relative time', 'peak MiB']
    print(f'\n{table(head, found)}')


if __name__ == '__main__':
    main()

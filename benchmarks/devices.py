"""Inference, training and search steps of networks on a device.

    python -m benchmarks.devices --device cuda
    python -m benchmarks.devices --device cpu --sizes 64 --models "DNAS L=12" --repeat 1

Weights and images are random. Inference is measured by size, precision and form: plain (DNAS as
released), deployed, and, as an option, deployed with ``torch.compile``. A training step consists of
forward, loss and backward of a batch, by precision and memory layout; a search step updates the
weights and the architecture parameters. Combinations that cannot run on the device are reported and
skipped.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from dnas_mmseg.models import place, switch_to_deploy

from . import training
from .inference import OTHERS, OWN, build, logits
from .plain import plain_logits
from .side_by_side import Measured, machine, measure, parser, table

MODELS = {**OWN, **OTHERS}
DTYPES = {'float32': None, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


@torch.no_grad()
def predict(call: Callable[[Tensor], Tensor], x: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Run inference with autocast to a dtype; None is float32."""
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        return call(x)


def step(model: nn.Module, x: Tensor, label: Tensor, dtype: torch.dtype | None) -> None:
    """Run a training step with autocast to a dtype, without an optimizer."""
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        out = F.interpolate(model(x), x.shape[2:], mode='bilinear', align_corners=True)
        loss = F.cross_entropy(out, label)
    loss.backward()
    model.zero_grad(set_to_none=True)


def search_step(model: nn.Module, x: Tensor, label: Tensor, dtype: torch.dtype | None) -> None:
    """Run a step of the weights and one of the architecture parameters."""
    with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
        training.own_step(model, x, label, with_cp=False)


def predictions(names: list[str], size: int, device: str, compiled: bool) -> dict:
    """Return the inference calls by model, form and precision."""
    x, calls = torch.randn(1, 4, size, size, device=device), {}
    for name in names:
        model = build(MODELS[name]).to(device)
        deployed = place(switch_to_deploy(copy.deepcopy(model)), device)
        variants: dict[str, Callable[[Tensor], Tensor]] = {'deployed': partial(logits, deployed)}
        if name in OWN:
            plain = build(MODELS[name], prune=False).to(device)
            variants = {'plain': partial(plain_logits, plain), **variants}
        if compiled:
            variants['deployed, compiled'] = torch.compile(partial(logits, deployed))
        for form, call in variants.items():
            for precision, dtype in DTYPES.items():
                calls[name, f'{form}, {precision}'] = partial(predict, call, x, dtype)
    return calls


def steps(names: list[str], size: int, batch: int, device: str) -> dict:
    """Return the training and search steps by model, memory layout and precision."""
    calls = {}
    label = torch.randint(0, 5, (batch, size, size), device=device)
    models: dict[str, tuple[nn.Module, Callable]] = {
        name: (build(MODELS[name]).train().to(device), step) for name in names
    }
    for layers in (12, 14):
        if f'DNAS L={layers}' in names:
            supernet = training.build('cell', layers, 40).to(device)
            models[f'search, cell stage, L={layers}'] = supernet, search_step
    for name, (model, take) in models.items():
        for layout in ('contiguous', 'channels_last'):
            form = getattr(torch, f'{layout}_format' if layout == 'contiguous' else layout)
            placed = copy.deepcopy(model).to(memory_format=form)
            x = torch.randn(batch, 4, size, size, device=device).to(memory_format=form)
            for precision, dtype in DTYPES.items():
                calls[name, f'{layout}, {precision}'] = partial(take, placed, x, label, dtype)
    return calls


def measured(calls: dict, repeat: int, device: str) -> dict[tuple[str, str], Measured]:
    """Measure the calls that can run on the device, in alternating rounds."""
    works = {}
    for key, call in calls.items():
        try:
            call()
            works[key] = call
        except Exception as error:  # out of memory, or a precision that the device lacks
            print(f'{", ".join(key)}: skipped ({str(error).splitlines()[0]})', file=sys.stderr)
    return measure(works, repeat, device)


def report(title: str, results: dict[tuple[str, str], Measured], device: str) -> None:
    """Print a table with times relative to the first form of each model."""
    rows = []
    for (name, form), (seconds, memory) in results.items():
        first = next(r.seconds for (other, _), r in results.items() if other == name)
        rows.append([name, form, f'{1e3 * seconds:.2f}', f'{first / seconds:.2f}', f'{memory:.0f}'])
    print(f'{title}, {device}; {machine()}')
    print(f'\n{table(["Model", "Form", "ms", "first form / this", "peak MiB"], rows)}\n')


def main() -> None:
    options = parser(__doc__, repeat=9)
    options.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    options.add_argument('--sizes', nargs='+', type=int, default=[512, 1024])
    options.add_argument('--batch', type=int, default=4, help='batch size of a step')
    options.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    options.add_argument(
        '--compile', action='store_true', help='also measure torch.compile: minutes per model'
    )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    # All models share a compiled function; beyond the limit they would run uncompiled.
    torch._dynamo.config.cache_size_limit = len(MODELS) * len(DTYPES) * len(args.sizes) + 1
    init_default_scope('mmseg')
    for size in args.sizes:
        calls = predictions(args.models, size, args.device, args.compile)
        results = measured(calls, args.repeat, args.device)
        report(f'Predictions, one image of 4 x {size} x {size}', results, args.device)
    size = min(args.sizes)
    results = measured(steps(args.models, size, args.batch, args.device), args.repeat, args.device)
    report(f'Steps, batch {args.batch} of 4 x {size} x {size}', results, args.device)


if __name__ == '__main__':
    main()

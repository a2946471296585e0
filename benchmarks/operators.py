"""Inference time by kind of operator.

    python -m benchmarks.operators --threads 2

Profiles DNAS L=14 on one image in plain, trained and deployed form with torch.profiler. Times are
self times, without nested operators.
"""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial

import torch
from mmengine.registry import init_default_scope
from torch.profiler import ProfilerActivity, profile

from dnas_mmseg.models import place, switch_to_deploy

from .inference import OWN, build, logits
from .plain import plain_logits
from .side_by_side import machine, parser, table

KINDS = {
    'convolution': ('conv', 'thnn'),
    'matrix product': ('mm', 'bmm', 'addmm'),
    'resizing': ('upsample',),
    'batch norm': ('batch_norm',),
    'pooling': ('pool', 'maximum', 'mean'),
    'ReLU': ('clamp_min', 'relu'),
    'sums': ('add',),
    'copies': ('copy', 'cat', 'clone', 'fill'),
}
"""Kinds of operators and substrings of their names; the first match counts."""


def shares(call, repeat: int) -> tuple[float, Counter]:
    """Return the milliseconds of a call and the percentage of each kind of operator."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(repeat):
            call()
    times: Counter = Counter()
    for event in profiled.key_averages():
        fits = (kind for kind, parts in KINDS.items() if any(p in event.key for p in parts))
        times[next(fits, 'other')] += event.self_cpu_time_total
    whole = sum(times.values())
    return whole / repeat / 1e3, Counter({k: 100 * v / whole for k, v in times.items()})


def main() -> None:
    args = parser(__doc__, repeat=5).parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    x = torch.randn(1, 4, 512, 512)
    plain, ours = build(OWN['DNAS L=14'], prune=False), build(OWN['DNAS L=14'])
    calls = {
        'plain': partial(torch.no_grad()(plain_logits), plain, x),
        'as trained': partial(logits, ours, x),
        'deployed': partial(logits, place(switch_to_deploy(copy.deepcopy(ours)), 'cpu'), x),
    }
    results = {form: shares(call, args.repeat) for form, call in calls.items()}
    rows = [
        [kind, '% of the time', *(f'{percent[kind]:.1f}' for _, percent in results.values())]
        for kind in (*KINDS, 'other')
    ]
    rows.append(['all', 'ms', *(f'{whole:.0f}' for whole, _ in results.values())])
    print(f'DNAS L=14, one image of 4 x 512 x 512, float32; {machine()}')
    print(f'\n{table(["Operators", "", *results], rows)}')


if __name__ == '__main__':
    main()

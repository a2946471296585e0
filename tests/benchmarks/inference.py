"""Predictions: the plain networks, ours, and ours deployed, beside common models.

    python -m tests.benchmarks.inference --threads 2 --out docs/performance.md

One process, all variants in turns, one image, float32. Plain: the released formulation (nothing
pruned, every edge resizes its input, one head on the concatenation). Others have their batch norm
folded, too. On random weights; outputs of the deployed form are compared with the plain one's.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.models.cost_tables import processor_name
from dnas_mmseg.models.measuring import peak_memory, seconds_of

from .plain import plain_logits

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
OWN = {'DNAS L=12': 'dnas/dnas_l12_gid5.py', 'DNAS L=14': 'dnas/dnas_l14_gid5.py'}
OTHERS = {
    'PSPNet R-50': 'pspnet/pspnet_r50-d8_gid5.py',
    'DeepLabV3+ R-50': 'deeplabv3plus/deeplabv3plus_r50-d8_gid5.py',
    'HRNet-W18': 'hrnet/fcn_hr18_gid5.py',
    'HRNet-W48': 'hrnet/fcn_hr48_gid5.py',
}


def build(config: str, **backbone) -> nn.Module:
    model = Config.fromfile(str(CONFIGS / config)).model
    model.pop('auxiliary_head', None)
    model.backbone.update(backbone)
    torch.manual_seed(0)
    return MODELS.build(model).eval()


def logits(model: nn.Module, x: Tensor) -> Tensor:
    return F.interpolate(model(x), x.shape[2:], mode='bilinear', align_corners=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', type=int, default=512)
    parser.add_argument('--repeat', type=int, default=7)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, help='also write the page there')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    x = torch.randn(1, 4, args.size, args.size)
    calls, errors = {}, {}
    for name, config in OWN.items():
        plain, ours = build(config, prune=False), build(config)
        ours.load_state_dict(plain.state_dict(), strict=False)
        deployed = switch_to_deploy(copy.deepcopy(ours))
        calls[name, 'plain'] = partial(plain_logits, plain, x)
        calls[name, 'as trained'] = partial(logits, ours, x)
        calls[name, 'deployed'] = partial(logits, deployed, x)
        with torch.no_grad():
            expected = plain_logits(plain, x)
            error = (logits(deployed, x) - expected).abs().max() / expected.abs().max()
        errors[name] = f'{error.item():.0e}'
    for name, config in OTHERS.items():
        calls[name, 'batch norm folded'] = partial(logits, switch_to_deploy(build(config)), x)
    seconds = {key: [] for key in calls}
    memory = {}
    with torch.no_grad():
        for turn in range(args.repeat + 1):
            for key, call in calls.items():
                if turn == 0:
                    memory[key] = peak_memory(call, 'cpu') / 2**20
                else:
                    seconds[key].append(seconds_of(call, 'cpu'))
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    lines = [
        '# Performance',
        '',
        f'`python -m tests.benchmarks.inference --threads {args.threads}`: one image of '
        f'4 x {args.size} x {args.size}, float32, {args.threads} threads of {processor_name()} '
        f'({platform.machine()}), torch {torch.__version__}; medians of {args.repeat}, all in '
        'turns in one process.',
        '',
        '| Model | Form | ms | plain / this | this / DNAS L=14 deployed | peak MiB | error |',
        '|---|---|---:|---:|---:|---:|---:|',
    ]
    for (name, form), value in medians.items():
        plain = f'{medians[name, "plain"] / value:.2f}' if name in OWN else ''
        other = f'{value / medians["DNAS L=14", "deployed"]:.2f}' if name not in OWN else ''
        error = errors[name] if form == 'deployed' and name in OWN else ''
        lines.append(
            f'| {name} | {form} | {1e3 * value:.0f} | {plain} | {other} | {memory[name, form]:.0f} '
            f'| {error} |'
        )
    print('\n'.join(lines))
    if args.out:
        args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()

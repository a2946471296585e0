"""Inference of DNAS in plain, trained and deployed form, compared with common models.

    python -m benchmarks.inference --threads 2

Measures one image with random weights. Plain is the released formulation: nothing is pruned, every
edge resizes its input, and the head convolves the concatenated outputs. Batch norms of the other
models are folded. All but the plain form have the memory format that the package uses on CPUs. The
error is the largest difference of the deployed logits to the plain ones, relative to the largest
plain logit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.models import place, switch_to_deploy
from dnas_mmseg.shipped import CONFIGS

from .plain import plain_logits
from .side_by_side import machine, measure, parser, table

OWN = {'DNAS L=12': 'dnas/dnas_l12_gid5.py', 'DNAS L=14': 'dnas/dnas_l14_gid5.py'}
NONLINEAR = 'DNAS L=14, ReLU in the head'
OTHERS = {
    'PSPNet R-50': 'pspnet/pspnet_r50-d8_gid5.py',
    'DeepLabV3+ R-50': 'deeplabv3plus/deeplabv3plus_r50-d8_gid5.py',
    'HRNet-W18': 'hrnet/fcn_hr18_gid5.py',
    'HRNet-W48': 'hrnet/fcn_hr48_gid5.py',
}


def build(config: str, head: dict | None = None, **backbone) -> nn.Module:
    model = Config.fromfile(str(CONFIGS / config)).model
    model.pop('auxiliary_head', None)
    model.backbone.update(backbone)
    model.decode_head.update(head or {})
    torch.manual_seed(0)
    return MODELS.build(model).eval()


@torch.no_grad()
def logits(model: nn.Module, x: Tensor) -> Tensor:
    return F.interpolate(model(x), x.shape[2:], mode='bilinear', align_corners=True)


@torch.no_grad()
def in_bfloat16(call: Callable[[], Tensor]) -> Tensor:
    with torch.autocast('cpu', torch.bfloat16):
        return call()


def main() -> None:
    options = parser(__doc__, repeat=9)
    options.add_argument('--size', type=int, default=512)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    x = torch.randn(1, 4, args.size, args.size)
    calls, errors = {}, {}
    variants = {name: (config, {}) for name, config in OWN.items()}
    variants[NONLINEAR] = OWN['DNAS L=14'], dict(act_cfg=dict(type='ReLU'))
    for name, (config, head) in variants.items():
        plain, ours = build(config, head, prune=False), build(config, head)
        ours.load_state_dict(plain.state_dict(), strict=False)
        place(ours, 'cpu')
        deployed = place(switch_to_deploy(copy.deepcopy(ours)), 'cpu')
        calls[name, 'plain'] = partial(torch.no_grad()(plain_logits), plain, x)
        calls[name, 'as trained'] = partial(logits, ours, x)
        calls[name, 'deployed'] = partial(logits, deployed, x)
        calls[name, 'deployed, bfloat16'] = partial(in_bfloat16, calls[name, 'deployed'])
        expected = calls[name, 'plain']()
        for form in ('deployed', 'deployed, bfloat16'):
            error = (calls[name, form]() - expected).abs().max() / expected.abs().max()
            errors[name, form] = f'{error.item():.0e}'
    for name, config in OTHERS.items():
        deployed = place(switch_to_deploy(build(config)), 'cpu')
        calls[name, 'norms folded'] = partial(logits, deployed, x)
    results = measure(calls, args.repeat)
    rows = []
    for (name, form), (seconds, memory) in results.items():
        row = [name, form, f'{1e3 * seconds:.0f}', f'{memory:.0f}']
        other = name in OTHERS
        row.append('' if other else f'{results[name, "plain"].seconds / seconds:.2f}')
        for own in OWN:
            row.append(f'{seconds / results[own, "deployed"].seconds:.2f}' if other else '')
        rows.append([*row, errors.get((name, form), '')])
    head = ['Model', 'Form', 'ms', 'peak MiB', 'plain / this', *(f'this / {n}' for n in OWN)]
    print(f'One image of 4 x {args.size} x {args.size}, float32 unless stated; {machine()}')
    print(f'\n{table([*head, "error"], rows)}')


if __name__ == '__main__':
    main()

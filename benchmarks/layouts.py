"""Training steps and predictions by memory format, precision, optimizer and compiler.

    python -m benchmarks.layouts --threads 1
    python -m benchmarks.layouts --threads 1 --compile    # adds torch.compile: minutes per network
    python -m benchmarks.layouts --device cuda --compile  # CUDA graphs, as `dnas train --compile`

A step consists of preprocessing, forward, loss, backward and the config's optimizer, on 4 x 4 x 128
x 128 of noise (DNAS L=14: 512 x 512); a prediction of a deployed network on 4 x 512 x 512.
``contiguous`` is torch's default; this package uses ``channels_last`` on CPUs. The other columns
are variants of the latter; on a GPU, ``compiled`` is contiguous. Variants have the same weights and
are measured in alternating rounds.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.engine import CompileHook
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.search.time import noise_batch

from .rows import ROOT
from .side_by_side import machine, measure, parser, table

NETWORKS = {
    'HRNet-W18-small': 'hrnet/fcn_hr18s_naip.py',
    'U-Net of five stages': 'unet/fcn_unet_s5_naip.py',
    'EfficientNet-Lite0, U-Net': 'unet/unet_lite0_naip.py',
    'ResNet-18, FPN': 'fpn/fpn_r18_naip.py',
    'PSPNet-R18': 'pspnet/pspnet_r18-d8_naip.py',
    'MiT-B0': 'segformer/segformer_mit-b0_naip.py',
    'DenseNAS, narrow': 'densenas/densenas_narrow_naip.py',
    'Auto-DeepLab, narrow': 'autodeeplab/autodeeplab_narrow_naip.py',
    'DNAS L=12, base 16': 'dnas/dnas_l12_w16_naip.py',
    'DNAS L=8, base 16': 'dnas/dnas_l12_w16_naip.py',
    'DNAS L=14, base 40': 'dnas/dnas_l14_naip.py',
}
ARCHITECTURES = {'DNAS L=8, base 16': str(ROOT / 'benchmarks/networks/dnas_random_3.json')}
"""Architectures in place of those of the configs."""

SIZES = {'DNAS L=14, base 40': 512}
"""Sides of the images of a training step, where they are not ``SIZE``."""

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
BATCH, BANDS, SIZE, WINDOW = 4, 4, 128, 512


def train_step(model: nn.Module, optimizer: Any, batch: dict, precision: torch.dtype) -> None:
    data = model.data_preprocessor(copy.copy(batch), True)
    device = data['inputs'].device.type
    with torch.autocast(device, precision, enabled=precision != torch.float32):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    optimizer.update_params(loss)


def predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(images, mode='tensor')


def variants(name: str, device: str, compiled: bool) -> dict[tuple[str, str], Callable[[], Any]]:
    """Return training steps and predictions of a network by kind and variant."""
    config = Config.fromfile(str(ROOT / 'configs' / NETWORKS[name]))
    if name in ARCHITECTURES:
        config.model.backbone.architecture = ARCHITECTURES[name]
    config.model.backbone.pop('init_cfg', None)
    if 'pretrained' in config.model.backbone:
        config.model.backbone.pretrained = False
    torch.manual_seed(0)
    plain = MODELS.build(config.model)
    size = SIZES.get(name, SIZE)
    batch = noise_batch(plain.data_preprocessor, BATCH, BANDS, (size, size), 4)
    plain = plain.to(device)
    images = torch.randn(1, BANDS, WINDOW, WINDOW, device=device)
    calls: dict[tuple[str, str], Callable[[], Any]] = {}

    def add(variant: str, layout: str, precision: torch.dtype, **optimizer: Any) -> nn.Module:
        model = copy.deepcopy(plain).train()
        model.to(memory_format=FORMATS[layout])
        settings = copy.deepcopy(config.optim_wrapper)
        settings.optimizer.update(optimizer)
        built = build_optim_wrapper(model, settings)
        calls['training', variant] = partial(train_step, model, built, batch, precision)
        return model

    add('contiguous', 'contiguous', torch.float32)
    add('channels_last', 'channels_last', torch.float32)
    add('fused optimizer', 'channels_last', torch.float32, fused=True)
    add('bfloat16', 'channels_last', torch.bfloat16)
    if compiled:
        layout = 'contiguous' if device == 'cuda' else 'channels_last'  # as `place` leaves it
        model = add('compiled', layout, torch.float32, fused=True)
        mode = 'reduce-overhead' if device == 'cuda' else 'default'
        CompileHook(mode=mode).compile(model, logging.getLogger())
    for layout in ('contiguous', 'channels_last'):
        model = switch_to_deploy(copy.deepcopy(plain)).to(memory_format=FORMATS[layout])
        calls['prediction', layout] = partial(predict, model, images)
    return calls


def main() -> None:
    options = parser(__doc__, repeat=7)
    options.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    options.add_argument('--compile', action='store_true', help='also measure torch.compile')
    options.add_argument('--networks', nargs='+', choices=NETWORKS, default=list(NETWORKS))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    logging.disable(logging.INFO)  # a line per parameter with paramwise_cfg
    rows = []
    columns = ['channels_last', 'fused optimizer', 'bfloat16', *['compiled'] * args.compile]
    for name in args.networks:
        measured = measure(variants(name, args.device, args.compile), args.repeat, args.device)
        torch._dynamo.reset()  # networks share a compiled function, with a limit of versions
        step = measured['training', 'contiguous'].seconds
        prediction = measured['prediction', 'contiguous'].seconds
        rows.append(
            [
                name,
                f'{1000 * step:.0f}',
                *(f'{step / measured["training", column].seconds:.2f}' for column in columns),
                f'{1000 * prediction:.0f}',
                f'{prediction / measured["prediction", "channels_last"].seconds:.2f}',
            ]
        )
    print(
        f'training: {BATCH} x {BANDS} x {SIZE} x {SIZE}, prediction: {WINDOW} x {WINDOW}; ', end=''
    )
    print(f'{machine()}\n')
    step_head = ['ms per step, contiguous', *columns]
    print(table(['Network', *step_head, 'ms per prediction, contiguous', 'channels_last'], rows))


if __name__ == '__main__':
    main()

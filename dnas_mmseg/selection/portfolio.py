"""Networks that a selection tries first."""

from __future__ import annotations

from dataclasses import dataclass

from dnas_mmseg.shipped import CONFIGS, PACKAGE


@dataclass(frozen=True)
class Member:
    """A network of the portfolio.

    Attributes:
        family: Name of its family: a search space, or the name of a config family.
        config: Path of its config.
        label: Its name in reports.
    """

    family: str
    config: str
    label: str


PORTFOLIO = (
    Member('unet', str(CONFIGS / 'unet/unet_lite0.py'), 'U-Net, EfficientNet-Lite0, ImageNet'),
    Member('hrnet', str(CONFIGS / 'hrnet/fcn_hr18s_naip.py'), 'HRNet-W18-small'),
    Member('dnas', str(CONFIGS / 'dnas/dnas_l12_w16.py'), 'DNAS L=12, released architecture'),
    Member('fpn', str(CONFIGS / 'fpn/fpn_r18_naip.py'), 'FPN, ResNet-18'),
    Member(
        'densenas',
        str(PACKAGE / 'mapping/pretrained_models/naip_small/config.py'),
        'DenseNAS, architecture of naip_small',
    ),
    Member('segformer', str(CONFIGS / 'segformer/segformer_mit-b0_naip.py'), 'SegFormer, MiT-B0'),
    Member('pspnet', str(CONFIGS / 'pspnet/pspnet_r18-d8_naip.py'), 'PSPNet, ResNet-18'),
    Member(
        'deeplabv3plus',
        str(CONFIGS / 'deeplabv3plus/deeplabv3plus_r18-d8_naip.py'),
        'DeepLabV3+, ResNet-18',
    ),
)
"""In the order in which they are tried where the time does not suffice for all."""

"""Encoders of timm, on any bands."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.bands import RGB, band_names
from dnas_mmseg.errors import UserError, did_you_mean
from dnas_mmseg.models.layers.input_bands import adapt_input_conv, require_bands
from dnas_mmseg.models.layers.operation import accept_single_values


@MODELS.register_module()
class TIMMEncoder(BaseModule):
    """Encoder of timm (PyTorch Image Models) that returns feature maps, finest first.

    In contrast to mmseg's ``TIMMBackbone``, the first convolution of pretrained weights is adapted
    to the bands by name (:func:`dnas_mmseg.models.layers.input_bands.adapt_input_conv`), and the
    numbers of channels are known, so that heads of ``SearchedEncoderDecoder`` need none.

    Args:
        model_name: Name of a model of timm, for example ``'resnet18'``.
        bands: Names of the bands, in the input's order.
        pretrained: Whether ``init_weights`` starts from timm's weights, which are downloaded once;
            predictions, exports and counts do not need them.
        checkpoint: Path of a file with timm's weights of this model, where the machine cannot
            download them; it replaces ``pretrained``.
        out_indices: Indices of the feature maps to return; all by default.
        in_channels: Number of bands, for encoders without pretrained weights, which need no names;
            that of ``bands`` by default.
        **kwargs: Further arguments of the model of timm, for example ``drop_path_rate``.

    Attributes:
        in_channels: Number of bands.
        out_channels: Numbers of channels of the feature maps, finest first.
        strides: Strides of the feature maps.

    Raises:
        UserError: timm is not installed, or has no such model. On initialisation: the weights
            cannot be read, or ``in_channels`` is not the number of ``bands``.

    Example:
        >>> encoder = TIMMEncoder('resnet18', bands=('nir', 'red', 'green'))
        >>> encoder.out_channels
        (64, 64, 128, 256, 512)
    """

    is_init: bool

    def __init__(
        self,
        model_name: str,
        bands: Sequence[str] = RGB,
        pretrained: bool = False,
        checkpoint: str | os.PathLike | None = None,
        out_indices: Sequence[int] | None = None,
        in_channels: int | None = None,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        timm = _require_timm()
        if not timm.is_model(model_name.split('.')[0]):
            hint = did_you_mean(model_name, timm.list_models(), 3)
            raise UserError(f"timm {timm.__version__} has no model '{model_name}'{hint}")
        self.bands = band_names(bands)
        self.in_channels = len(self.bands) if in_channels is None else in_channels
        self.model_name, self.pretrained, self.checkpoint = model_name, pretrained, checkpoint
        self.options: dict[str, Any] = dict(kwargs, features_only=True)
        if out_indices is not None:
            self.options['out_indices'] = tuple(out_indices)
        self.encoder: Any = timm.create_model(model_name, in_chans=self.in_channels, **self.options)
        self.out_channels = tuple(self.encoder.feature_info.channels())
        self.strides = tuple(self.encoder.feature_info.reduction())
        accept_single_values(self.encoder)

    def init_weights(self) -> None:
        """Load pretrained weights, adapted to the bands, or else apply ``init_cfg``."""
        if self.is_init or not (self.pretrained or self.checkpoint is not None):
            super().init_weights()
            return
        if self.in_channels != len(self.bands):
            raise UserError(
                f'TIMMEncoder: bands {", ".join(self.bands)} are {len(self.bands)}, but '
                f'in_channels={self.in_channels}: pretrained weights are adapted by names of bands'
            )
        weights = self._pretrained()
        stem = next(k for k, v in weights.items() if v.ndim == 4)
        weights[stem] = adapt_input_conv(weights[stem], RGB, self.bands)
        self.encoder.load_state_dict(weights)
        self.is_init = True  # mmengine must not initialise it again

    def _pretrained(self) -> dict[str, Tensor]:
        """Return the weights of this encoder on red, green and blue."""
        timm, name, checkpoint = _require_timm(), self.model_name, self.checkpoint
        if checkpoint is not None and not os.path.isfile(checkpoint):
            raise UserError(f'checkpoint {checkpoint} of TIMMEncoder: no such file')
        settings = timm.get_pretrained_cfg(name)
        try:
            overlay = None if checkpoint is None else dict(file=os.fspath(checkpoint))
            model: nn.Module = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay, **self.options
            )
        except (OSError, RuntimeError, ValueError) as error:
            source = checkpoint or (settings and (settings.hf_hub_id or settings.url)) or 'timm'
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"weights of '{name}' cannot be read from {source} ({reason}): set checkpoint= to "
                'a file that another machine has downloaded, or pretrained=False'
            ) from error
        return model.state_dict()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, bands, H, W) to feature maps (N, out_channels[i], ...), finest first."""
        require_bands(self, x)
        maps = self.encoder(x.contiguous(memory_format=torch.channels_last))
        if getattr(self.encoder, 'output_fmt', 'NCHW') == 'NHWC':  # Swin, MambaOut
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return tuple(maps)


def _require_timm() -> ModuleType:
    try:
        return importlib.import_module('timm')
    except ImportError:
        raise UserError("timm is not installed: pip install 'dnas_mmseg[timm]'") from None
    except RuntimeError as error:  # a torchvision for another torch
        raise UserError(
            f'timm cannot be imported ({error}): install the torchvision of this torch, '
            f'{torch.__version__}, from the same index'
        ) from None

"""Loading of trained segmentors for inference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dnas_mmseg.bands import band_names
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.configs import configured_metainfo, leaf_datasets
from dnas_mmseg.datasets.transforms.loading import selected_bands
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights_and_meta, tensor_checksum
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import place, switch_to_deploy

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_RGB = ('red', 'green', 'blue')


def load_segmentor(
    config: Config, checkpoint: str | os.PathLike, device: str | None = None
) -> BaseSegmentor:
    """Load a trained segmentor for inference.

    Args:
        config: Config of the segmentor.
        checkpoint: Path of a checkpoint of this model; all tensors must match.
        device: Device; defaults to a GPU if one is available.

    Returns:
        Model in deployed form (:func:`dnas_mmseg.models.switch_to_deploy`). Its ``dataset_meta``
        has ``classes``, ``palette``, ``bands`` (input bands in order; empty if unknown) and
        ``unnamed_bands`` (order of the bands in files that do not name them), from the checkpoint,
        else from the config; and ``weights``, a checksum of the weights.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another network.
        UserError: Neither file defines the classes, or the device is not available.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> model = load_segmentor(config, 'best.pth', device='cpu')  # doctest: +SKIP
        >>> model.dataset_meta['bands']  # doctest: +SKIP
        ('nir', 'red', 'green', 'blue')
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    device = check_device(device)
    weights, meta = load_weights_and_meta(checkpoint)
    model = MODELS.build(config.model)
    load_exactly(model, weights, str(checkpoint))
    model = switch_to_deploy(model)
    model.dataset_meta = get_model_metainfo(config, meta)
    model.dataset_meta['weights'] = tensor_checksum(weights)
    return place(model, device)


def check_device(device: str | None) -> str:
    """Return the requested device, or the default one: a GPU if one is available.

    Raises:
        UserError: The device is not available.
    """
    if device is None:
        return get_device()
    gpus = torch.cuda.device_count()
    available = ['cpu', *(f'cuda:{i}' for i in range(gpus))]
    available += ['mps'] if torch.backends.mps.is_available() else []
    if device not in available and not (device == 'cuda' and gpus):
        raise UserError(f"device '{device}' is not available; choose {', '.join(available)}")
    return device


def get_model_metainfo(config: Config, checkpoint_meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes, palette and input bands of a trained model.

    Args:
        config: Config of the model.
        checkpoint_meta: ``dataset_meta`` of its checkpoint, or an empty mapping. It takes
            precedence over the config.

    Raises:
        UserError: Neither source defines the classes.
    """
    meta = {**get_test_metainfo(config), **checkpoint_meta}
    if not meta.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config defines the classes: set '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=..., bands=...)'
        )
    dataset = next(leaf_datasets(config.get('test_dataloader')), {})
    pipeline = dataset.get('pipeline') or ()
    bands = unnamed = selected_bands(pipeline) or band_names(
        meta.get('use_bands') or meta.get('bands')
    )
    if _loads_by_opencv(pipeline) and len(bands or _RGB) == len(_RGB):
        unnamed = bands or _RGB
        bands = unnamed[::-1]
    palette = ClassScheme.from_metainfo(meta).palette
    return {**meta, 'palette': palette, 'bands': bands, 'unnamed_bands': unnamed}


def _loads_by_opencv(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a pipeline reads colour images in OpenCV's order: blue, green, red.

    It is that of mmcv's ``LoadImageFromFile`` for all its decoders except tifffile.
    """
    loading = [step for step in pipeline if type_name(step) == 'LoadImageFromFile']
    return any(
        step.get('imdecode_backend', 'cv2') != 'tifffile'
        and step.get('color_type', 'color') in ('color', 'color_ignore_orientation')
        for step in loading
    )


def get_test_metainfo(config: Config) -> dict:
    """Return the classes, palette and bands of a config's test set, if the config defines them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = next(leaf_datasets(config.get('test_dataloader')), {})
    metainfo = configured_metainfo(dataset) if dataset else {}
    if metainfo.get('classes'):
        metainfo['palette'] = ClassScheme.from_metainfo(metainfo).palette
    return metainfo

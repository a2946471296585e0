"""Pretrained models of the package."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from dnas_mmseg.engine.checkpoints import load_weights_and_meta
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_json, write_text
from dnas_mmseg.spaces.registry import load_architecture

from .model_card import ModelMetadata, write_model_card
from .segmentor import get_model_metainfo

FOLDER = Path(__file__).with_name('pretrained_models')


@dataclass(frozen=True)
class PretrainedModel:
    """Pretrained model: a folder with config, weights, metadata and model card.

    Attributes:
        folder: Folder, named like the model.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Path of the config, which has no base config."""
        return self.folder / 'config.py'

    @property
    def weights(self) -> Path:
        """Path of the checkpoint, with classes, palette and bands."""
        return self.folder / 'weights.pth'

    @property
    def card(self) -> Path:
        """Path of the model card."""
        return self.folder / 'README.md'

    @property
    def metadata(self) -> ModelMetadata:
        """Metadata of the model."""
        return ModelMetadata(**json.loads((self.folder / 'facts.json').read_text(encoding='utf-8')))


def list_pretrained_models() -> dict[str, PretrainedModel]:
    """Return the pretrained models of the package by name."""
    return {
        path.parent.name: PretrainedModel(path.parent)
        for path in sorted(FOLDER.glob('*/config.py'))
    }


def get_pretrained_model(name: str) -> PretrainedModel:
    """Return a pretrained model of the package.

    Raises:
        UserError: The name is unknown.
    """
    models = list_pretrained_models()
    if name not in models:
        raise UserError(f"unknown pretrained model '{name}'; available: {', '.join(models)}")
    return models[name]


def save_pretrained_model(
    folder: str | os.PathLike,
    config: Config,
    checkpoint: str | os.PathLike,
    metadata: ModelMetadata,
) -> PretrainedModel:
    """Write a trained model into a folder, with weights in float16.

    Args:
        folder: Output folder.
        config: Config; only its model is saved.
        checkpoint: Path of the checkpoint.
        metadata: Metadata of the model.
    """
    model = PretrainedModel(Path(folder))
    weights, meta = load_weights_and_meta(checkpoint)
    # The saved config has no data set, from which the input bands and the scaling would follow.
    meta = get_model_metainfo(config, meta)
    dataset_meta = {k: meta.get(k) for k in ('classes', 'palette', 'bands', 'apply_scale')}
    halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    with atomic_path(model.weights) as temporary:
        torch.save({'state_dict': halves, 'meta': {'dataset_meta': dataset_meta}}, temporary)
    network = copy.deepcopy(config.model)
    architecture = network.backbone.get('architecture')
    if isinstance(architecture, str) and Path(architecture).is_file():
        network.backbone.architecture = load_architecture(architecture).to_document()
    text = Config({'default_scope': 'mmseg', 'model': network}).pretty_text
    write_text(model.config, f'# The model `{model.folder.name}`; its card is README.md.\n{text}')
    write_json(model.folder / 'facts.json', asdict(metadata))
    use = [f'dnas predict {model.folder.name} scene.tif --out-dir maps']
    write_model_card(model.card, metadata, use)
    return model

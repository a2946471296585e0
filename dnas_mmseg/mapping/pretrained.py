"""Trained models that come with the package, by name."""

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

from .model_card import ModelFacts, write_model_card

FOLDER = Path(__file__).with_name('pretrained_models')


@dataclass(frozen=True)
class PretrainedModel:
    """A trained model in a folder: its config, weights, facts and card.

    Attributes:
        folder: Folder of the model; its name is the model's.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Path of the config, which inherits nothing."""
        return self.folder / 'config.py'

    @property
    def weights(self) -> Path:
        """Path of the weights, with the classes, palette and bands."""
        return self.folder / 'weights.pth'

    @property
    def card(self) -> Path:
        """Path of the model card."""
        return self.folder / 'README.md'

    @property
    def facts(self) -> ModelFacts:
        """Facts of the model."""
        return ModelFacts(**json.loads((self.folder / 'facts.json').read_text(encoding='utf-8')))


def pretrained_models() -> dict[str, PretrainedModel]:
    """Return the models that come with the package, by name."""
    return {
        path.parent.name: PretrainedModel(path.parent)
        for path in sorted(FOLDER.glob('*/config.py'))
    }


def get_pretrained_model(name: str) -> PretrainedModel:
    """Return a model that comes with the package.

    Raises:
        UserError: There is none of this name.
    """
    models = pretrained_models()
    if name not in models:
        known = ', '.join(models)
        raise UserError(f"there is no model '{name}'; with the package come: {known}")
    return models[name]


def save_pretrained_model(
    folder: str | os.PathLike, config: Config, checkpoint: str | os.PathLike, facts: ModelFacts
) -> PretrainedModel:
    """Write a trained model into a folder, weights in half precision.

    Args:
        folder: Folder of the model.
        config: Its config; of it only the model is kept.
        checkpoint: Its checkpoint.
        facts: Its facts.
    """
    model = PretrainedModel(Path(folder))
    weights, meta = load_weights_and_meta(checkpoint)
    kept = {key: meta.get(key) for key in ('classes', 'palette', 'bands')}
    halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    with atomic_path(model.weights) as temporary:
        torch.save({'state_dict': halves, 'meta': {'dataset_meta': kept}}, temporary)
    network = copy.deepcopy(config.model)
    architecture = network.backbone.get('architecture')
    if isinstance(architecture, str) and Path(architecture).is_file():
        network.backbone.architecture = load_architecture(architecture).to_document()
    text = Config({'default_scope': 'mmseg', 'model': network}).pretty_text
    write_text(model.config, f'# The model `{model.folder.name}`; its card is README.md.\n{text}')
    write_json(model.folder / 'facts.json', asdict(facts))
    use = [f'dnas predict {model.folder.name} scene.tif --out-dir maps']
    write_model_card(model.card, facts, use)
    return model

"""Metadata of trained models, and model cards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.classes import ClassScheme, Colour
from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.table import format_cost
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import format_markdown_table, write_text
from dnas_mmseg.models import MultiBandDataPreProcessor
from dnas_mmseg.raster import Raster

from .windows import binary_threshold

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


_SCALED = 'stored with a scale and offset, which must be applied'


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata that others need to use a trained model.

    Attributes:
        name: Name of the model.
        network: Names of backbone and head.
        classes, palette: Names and colours of the classes, in train-id order.
        bands: Names of the input bands in order; empty if unknown.
        mean, std: Mean and standard deviation of each band for normalisation.
        window: Side of its windows, in pixels.
        outputs: Number of logits per pixel: one per class, or 1 for a binary head.
        parameters, macs: Number of parameters, and of multiply-adds per window.
        dtype: Name of the numpy dtype of the training tiles; empty if unknown.
        metres: Pixel size of the training tiles in metres; None if unknown.
        tile_size: Height and width of the training tiles, in pixels; None if unknown.
        data: Description of the training data.
        scores: Scores by name, in percent.
        licence: Terms of use.
        samples: Scaling of the input samples.
    """

    name: str
    network: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    window: int
    outputs: int
    parameters: int
    macs: int
    dtype: str = ''
    metres: float | None = None
    tile_size: tuple[int, int] | None = None
    data: str = 'not stated'
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = 'not stated'
    samples: str = 'as they are stored'

    @property
    def scheme(self) -> ClassScheme:
        """Names and colours of the classes."""
        return ClassScheme(self.classes, self.palette)


def collect_model_metadata(
    model: BaseSegmentor,
    config: Config,
    name: str,
    window: int,
    scores: Mapping[str, float],
    licence: str,
) -> ModelMetadata:
    """Collect the metadata of a segmentor, and of its training tiles if they are available.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`, on the CPU.
        config: Its config.
        name: Name of the model.
        window: Side of its windows, in pixels.
        scores: Scores by name, in percent.
        licence: Terms of use.

    Raises:
        UserError: The preprocessor of the model is not a MultiBandDataPreProcessor.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    meta, normalisation = model.dataset_meta, model.data_preprocessor
    if not isinstance(normalisation, MultiBandDataPreProcessor):
        raise UserError(
            f'models with {type(normalisation).__name__} cannot be exported; '
            'use MultiBandDataPreProcessor, which supports any number of bands'
        )
    with torch.no_grad():
        cost = count(model, model, (1, normalisation.mean.numel(), window, window))
    auxiliary = getattr(model, 'auxiliary_head', None)
    unused = sum(p.numel() for p in auxiliary.parameters()) if auxiliary is not None else 0
    tiles = _training_tiles(config)
    return ModelMetadata(
        name=name,
        network=_network(config, type(model).__name__),
        classes=tuple(meta['classes']),
        palette=ClassScheme.from_metainfo(meta).palette,
        bands=tuple(meta.get('bands') or ()),
        mean=tuple(round(float(value), 3) for value in normalisation.mean.flatten()),
        std=tuple(round(float(value), 3) for value in normalisation.std.flatten()),
        window=window,
        outputs=len(meta['classes']) if binary_threshold(model) is None else 1,
        parameters=sum(p.numel() for p in model.parameters()) - unused,
        macs=cost.macs,
        **tiles,
        scores=dict(scores),
        licence=licence,
        samples=_SCALED if meta.get('apply_scale') else ModelMetadata.samples,
    )


def complete_metadata(metadata: ModelMetadata, known: ModelMetadata) -> ModelMetadata:
    """Return metadata in which that of a model's training is filled in where it is unknown.

    Args:
        metadata: Metadata of a model, see :func:`collect_model_metadata`.
        known: Earlier metadata of the same model.
    """
    unknown = {f.name: f.default for f in fields(ModelMetadata)} | {'scores': {}}
    return replace(
        metadata,
        **{
            name: getattr(known, name)
            for name in ('dtype', 'metres', 'tile_size', 'data', 'scores', 'licence')
            if getattr(metadata, name) == unknown[name]
        },
    )


def _network(config: Config, segmentor: str) -> str:
    """Return the names of backbone, its architecture if it has one, and head."""
    heads = config.model.get('decode_head') or {}
    last = heads[-1] if isinstance(heads, (list, tuple)) else heads  # last of a cascade
    backbone = config.model.get('backbone') or {}
    name, architecture = type_name(backbone) or segmentor, backbone.get('architecture')
    if isinstance(architecture, Mapping):
        architecture = architecture.get('name')
    if architecture:
        name += f' ({Path(architecture).stem})'
    return ' with '.join(filter(None, (name, type_name(last))))


def _training_tiles(config: Config) -> dict[str, Any]:
    """Return the metadata of the training tiles that are available."""
    descriptions: list[str] = []
    found: dict[str, Any] = {}
    for leaf in leaf_datasets(config.get('train_dataloader')):
        try:
            dataset = DATASETS.build({**leaf, 'check_files': 0, 'lazy_init': False})
            pairs = dataset.pairs
            with Raster(pairs[0][0]) as raster:
                info = raster.info
        except (UserError, OSError, TypeError, KeyError, AttributeError, IndexError):
            continue  # not available, or not a MultiBandSegDataset
        root = leaf.get('data_root') or ''
        source = DatasetDescription.load(root or None).provenance.get('source', '')
        descriptions.append(
            f'{len(pairs)} tiles of {info.height} x {info.width} pixels, {Path(root).name}'
            + (f' (cut from {source})' if source else '')
        )
        found.setdefault('dtype', info.dtypes[0])
        found.setdefault('tile_size', info.shape)
        found['metres'] = found.get('metres') or info.georeference.ground_sample_distance(
            *info.shape
        )
    return {**found, 'data': '; '.join(descriptions)} if found else {}


def write_model_card(
    path: str | os.PathLike, metadata: ModelMetadata, commands: Sequence[str]
) -> None:
    """Write a model card in Markdown.

    Args:
        path: Path of the file.
        metadata: Metadata of the model.
        commands: Shell commands that use the model.
    """
    bands = metadata.bands or tuple(f'band {i + 1}' for i in range(len(metadata.mean)))
    resolution = 'unknown size' if metadata.metres is None else f'{metadata.metres:g} m'
    statistics = zip(range(1, len(bands) + 1), bands, metadata.mean, metadata.std, strict=True)
    rows = [(i, name, f'{mean:g}', f'{std:g}') for i, name, mean, std in statistics]
    classes = [
        (i, name, '#' + ''.join(f'{int(part):02x}' for part in colour))
        for i, (name, colour) in enumerate(metadata.scheme)
    ]
    scores = [(name, f'{score:.2f}') for name, score in metadata.scores.items()]
    lines = [
        f'# {metadata.name}',
        '',
        f'{metadata.network}: semantic segmentation into {len(metadata.classes)} classes.',
        '',
        '## Input',
        '',
        f'Samples {metadata.samples}{f" ({metadata.dtype})" if metadata.dtype else ""}, pixels of '
        f'{resolution}, windows of {metadata.window} x {metadata.window}. '
        'The model normalises its input.',
        '',
        *format_markdown_table(('', 'Band', 'Mean', 'Standard deviation'), rows, (0, 2, 3)),
        '',
        '## Classes',
        '',
        *format_markdown_table(('Value', 'Class', 'Colour'), classes, numbers=(0,)),
        '',
        '## Trained on',
        '',
        metadata.data,
        '',
        '## Scores',
        '',
        *(
            format_markdown_table(('Score', '%'), scores, numbers=(1,))
            if scores
            else ['Not stated (`dnas export --scores test_scores.json` adds them).']
        ),
        '',
        '## Cost',
        '',
        f'{metadata.parameters:,} parameters; {format_cost(metadata.macs, "macs")} per window.',
        '',
        '## Licence',
        '',
        metadata.licence,
        '',
        '## Use',
        '',
        '```bash',
        *commands,
        '```',
        '',
    ]
    write_text(path, '\n'.join(lines))

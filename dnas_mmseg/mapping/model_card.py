"""Facts of a trained model that others need to use it, and their page, the model card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.classes import ClassScheme, Colour
from dnas_mmseg.cost.counting import count
from dnas_mmseg.cost.table import format_cost
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text
from dnas_mmseg.models import MultiBandDataPreProcessor
from dnas_mmseg.raster import Raster

from .windows import binary_threshold

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a trained model.

    Attributes:
        name: Name of the model.
        network: What it is built of.
        classes, palette: Names and colours of the classes, in train-id order.
        bands: Names of the bands it takes, in its order; empty where they are not known.
        mean, std: Mean and standard deviation by which it normalises each band.
        window: Side of its windows, in pixels.
        outputs: Number of its outputs for a pixel: one a class, or the one of a binary head.
        parameters, macs: Number of parameters, and of multiply-adds for a window.
        dtype: Name of the numpy type of the training tiles' samples; empty where it is not known.
        metres: Size of the training tiles' pixels in metres; None where it is not known.
        data: What it was trained on.
        scores: Scores by name, in percent.
        licence: Terms of use.
        samples: How samples are fed to it.
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
    data: str = 'not stated'
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = 'not stated'
    samples: str = 'as they are stored'

    @property
    def scheme(self) -> ClassScheme:
        """Names and colours of the classes."""
        return ClassScheme(self.classes, self.palette)


def model_card_facts(
    model: BaseSegmentor,
    config: Config,
    name: str,
    window: int,
    scores: Mapping[str, float],
    licence: str,
) -> ModelFacts:
    """Collect the facts of a segmentor, and of its training tiles where they are available.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.scenes.load_segmentor`, on the CPU.
        config: Its config.
        name: Name of the model.
        window: Side of its windows, in pixels.
        scores: Scores by name, in percent.
        licence: Terms of use.

    Raises:
        UserError: The model normalises in another way than exports can.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    meta, normalisation = model.dataset_meta, model.data_preprocessor
    if not isinstance(normalisation, MultiBandDataPreProcessor):
        raise UserError(
            f'models with {type(normalisation).__name__} cannot be exported; '
            'MultiBandDataPreProcessor normalises any number of bands'
        )
    with torch.no_grad():
        cost = count(model, model, (1, normalisation.mean.numel(), window, window))
    heads = config.model.get('decode_head', {})
    last = heads[-1] if isinstance(heads, (list, tuple)) else heads  # of a cascade
    backbone = config.model.get('backbone', {}).get('type', type(model).__name__)
    trained_only = getattr(model, 'auxiliary_head', None)
    aside = sum(p.numel() for p in trained_only.parameters()) if trained_only is not None else 0
    dtype, metres, data = _training_tiles(config)
    return ModelFacts(
        name=name,
        network=' with '.join(filter(None, (backbone, last.get('type')))),
        classes=tuple(meta['classes']),
        palette=ClassScheme.from_metainfo(meta).palette,
        bands=tuple(meta.get('bands') or ()),
        mean=tuple(round(float(value), 3) for value in normalisation.mean.flatten()),
        std=tuple(round(float(value), 3) for value in normalisation.std.flatten()),
        window=window,
        outputs=len(meta['classes']) if binary_threshold(model) is None else 1,
        parameters=sum(p.numel() for p in model.parameters()) - aside,
        macs=cost.macs,
        dtype=dtype,
        metres=metres,
        data=data,
        scores=dict(scores),
        licence=licence,
    )


def _training_tiles(config: Config) -> tuple[str, float | None, str]:
    """Return type, size of the pixels and a description of the training tiles that are here."""
    statements = []
    dtype, metres = '', None
    for leaf in leaf_datasets(config.get('train_dataloader')):
        try:
            dataset = DATASETS.build({**leaf, 'check_files': 0, 'lazy_init': False})
            pairs = dataset.pairs
            with Raster(pairs[0][0]) as raster:
                info = raster.info
        except (UserError, OSError, TypeError, KeyError, AttributeError, IndexError):
            continue  # not here, or of another kind
        root = leaf.get('data_root') or ''
        source = DatasetDescription.load(root or None).provenance.get('source', '')
        statements.append(
            f'{len(pairs)} tiles of {info.height} x {info.width} pixels, {Path(root).name}'
            + (f' (cut from {source})' if source else '')
        )
        dtype = dtype or info.dtypes[0]
        metres = metres or info.georeference.ground_sample_distance(*info.shape)
    return dtype, metres, '; '.join(statements) or 'not stated'


def write_model_card(path: str | os.PathLike, facts: ModelFacts, commands: Sequence[str]) -> None:
    """Write a model card in Markdown.

    Args:
        path: Path of the file.
        facts: Facts of the model.
        commands: Lines of a shell that use it.
    """
    bands = facts.bands or tuple(f'band {i + 1}' for i in range(len(facts.mean)))
    resolution = 'not known' if facts.metres is None else f'{facts.metres:g} m'
    rows = zip(range(1, len(bands) + 1), bands, facts.mean, facts.std, strict=True)
    lines = [
        f'# {facts.name}',
        '',
        f'{facts.network}: a class for every pixel, of {len(facts.classes)}.',
        '',
        '## Input',
        '',
        f'Samples {facts.samples}{f" ({facts.dtype})" if facts.dtype else ""}, pixels of '
        f'{resolution}, windows of {facts.window} x {facts.window}. Normalisation is in the model.',
        '',
        '| | Band | Mean | Standard deviation |',
        '|---:|---|---:|---:|',
        *(f'| {i} | {name} | {mean:g} | {std:g} |' for i, name, mean, std in rows),
        '',
        '## Classes',
        '',
        '| Value | Class | Colour |',
        '|---:|---|---|',
        *(
            f'| {i} | {name} | #{"".join(f"{int(part):02x}" for part in colour)} |'
            for i, (name, colour) in enumerate(facts.scheme)
        ),
        '',
        '## Trained on',
        '',
        facts.data,
        '',
        '## Scores',
        '',
        *(
            [
                '| Score | % |',
                '|---|---:|',
                *(f'| {k} | {v:.2f} |' for k, v in facts.scores.items()),
            ]
            if facts.scores
            else ['Not stated (`dnas export --scores test_scores.json` puts them here).']
        ),
        '',
        '## Cost',
        '',
        f'{facts.parameters:,} parameters; {format_cost(facts.macs, "macs")} for a window.',
        '',
        '## Licence',
        '',
        facts.licence,
        '',
        '## Use',
        '',
        '```bash',
        *commands,
        '```',
        '',
    ]
    write_text(path, '\n'.join(lines))

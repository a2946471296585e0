"""Images of the samples that a data set's pipeline yields."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import PackSegInputs

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets import dataset_parts
from dnas_mmseg.files import atomic_path
from dnas_mmseg.raster import raster_stem

from .comparison import draw_pictures
from .false_colour import apply_palette, false_colour, format_display_bands


@dataclass(frozen=True)
class SamplePictures:
    """Pictures of samples, which a notebook displays.

    Attributes:
        names: Name of each picture, that of the image without its suffix, numbered if not unique.
        pictures: Pictures as PNG files.
    """

    names: Sequence[str]
    pictures: Sequence[bytes]

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Write one PNG per sample to a folder, which is created.

        Returns:
            Paths of the files.
        """
        paths = [Path(folder) / f'{name}.png' for name in self.names]
        for path, picture in zip(paths, self.pictures, strict=True):
            with atomic_path(path) as temporary:
                temporary.write_bytes(picture)
        return paths

    def _repr_html_(self) -> str:
        figures = [
            f'<figure style="margin:0 0 1em"><figcaption>{html.escape(name)}</figcaption>'
            f'<img alt="{html.escape(name)}" style="max-width:100%" '
            f'src="data:image/png;base64,{base64.b64encode(picture).decode()}"></figure>'
            for name, picture in zip(self.names, self.pictures, strict=True)
        ]
        return f'<div>{"".join(figures)}</div>'


def draw_samples(dataset: BaseDataset, number: int) -> SamplePictures:
    """Draw the first samples after the pipeline: false colour next to the label, if there is one.

    Args:
        dataset: Data set, also inside wrappers such as ``ConcatDataset``, whose parts are drawn one
            after another, each sample once. ``PackSegInputs`` of its pipeline is skipped.
        number: Number of samples.
    """
    samples = ((part, i) for part in dataset_parts(dataset) for i in range(len(part)))
    pictures: dict[str, bytes] = {}
    for part, index in islice(samples, number):
        results = part.get_data_info(index)
        for transform in part.pipeline.transforms:
            loads_label = 'Annotation' in type(transform).__name__
            if loads_label and 'seg_map_path' not in results:  # a tile without a label
                continue
            if not isinstance(transform, PackSegInputs):
                results = transform(results)
        classes = ClassScheme.from_metainfo(part.metainfo)
        bands = results.get('bands', ())
        row = [false_colour(results['img'], bands)]
        headings = [f'image{format_display_bands(bands)}']
        if 'gt_seg_map' in results:
            row.append(apply_palette(results['gt_seg_map'], classes.palette))
            headings.append('label')
        name = _unused(raster_stem(results['img_path']), pictures)
        pictures[name] = draw_pictures([row], headings=headings, classes=classes)
    return SamplePictures(list(pictures), list(pictures.values()))


def _unused(stem: str, names: Container[str]) -> str:
    """Return a stem, with a number if it is the name of an image in another folder."""
    numbered = (f'{stem}_{n}' for n in count(2))
    return next(name for name in chain([stem], numbered) if name not in names)

"""Images of the samples that a data set's pipeline yields."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.dataset import BaseDataset

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.files import atomic_path
from dnas_mmseg.raster import raster_stem

from .comparison import draw_pictures
from .false_colour import apply_palette, false_colour, format_display_bands


@dataclass(frozen=True)
class SamplePictures:
    """Pictures of samples, which a notebook displays.

    Attributes:
        names: Name of each picture, that of the image without its suffix.
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
    """Draw the first samples after the pipeline: false colour next to the label.

    Args:
        dataset: Data set whose pipeline ends with ``PackSegInputs``, which is skipped.
        number: Number of samples.
    """
    classes = ClassScheme.from_metainfo(dataset.metainfo)
    names, pictures = [], []
    for index in range(min(number, len(dataset))):
        results = dataset.get_data_info(index)
        for transform in dataset.pipeline.transforms[:-1]:
            results = transform(results)
        picture = draw_pictures(
            [
                [
                    false_colour(results['img'], results['bands']),
                    apply_palette(results['gt_seg_map'], classes.palette),
                ]
            ],
            headings=(f'image{format_display_bands(results["bands"])}', 'label'),
            classes=classes,
        )
        names.append(raster_stem(results['img_path']))
        pictures.append(picture)
    return SamplePictures(names, pictures)

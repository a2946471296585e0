"""Images of the samples that a data set's pipeline yields."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.dataset import BaseDataset

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.raster import raster_stem

from .comparison import save_pictures
from .false_colour import apply_palette, false_colour, format_display_bands


def save_samples(dataset: BaseDataset, folder: str | os.PathLike, number: int) -> list[Path]:
    """Save the first samples after the pipeline: false colour next to the label.

    Args:
        dataset: Data set whose pipeline ends with ``PackSegInputs``, which is skipped.
        folder: Folder for the images, one PNG per sample.
        number: Number of samples.

    Returns:
        Paths of the images.
    """
    classes = ClassScheme.from_metainfo(dataset.metainfo)
    paths = []
    for index in range(min(number, len(dataset))):
        results = dataset.get_data_info(index)
        for transform in dataset.pipeline.transforms[:-1]:
            results = transform(results)
        path = Path(folder) / f'{raster_stem(results["img_path"])}.png'
        save_pictures(
            path,
            [
                [
                    false_colour(results['img'], results['bands']),
                    apply_palette(results['gt_seg_map'], classes.palette),
                ]
            ],
            headings=(f'image{format_display_bands(results["bands"])}', 'label'),
            classes=classes,
        )
        paths.append(path)
    return paths

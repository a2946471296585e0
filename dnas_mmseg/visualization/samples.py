"""What a data set's pipeline yields, as pictures."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.dataset import BaseDataset

from .comparison import save_pictures
from .false_colour import class_colours, false_colour


def save_samples(dataset: BaseDataset, folder: str | os.PathLike, number: int) -> list[Path]:
    """Draw the first samples as they reach the network: false colour beside the label.

    Args:
        dataset: Its pipeline ends with ``PackSegInputs``.
        folder: One PNG a sample goes there.
        number: How many.

    Returns:
        The files.
    """
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    paths = []
    for index in range(min(number, len(dataset))):
        packed = dataset[index]
        sample = packed['data_samples']
        image = packed['inputs'].numpy().transpose(1, 2, 0)
        label = sample.gt_sem_seg.data[0].numpy()
        bands = dataset.bands if len(dataset.bands) == image.shape[2] else ()
        path = Path(folder) / f'{Path(sample.img_path).stem}.png'
        save_pictures(
            path,
            [[false_colour(image, bands), class_colours(label, palette)]],
            headings=('image', 'label'),
            classes=classes,
            palette=palette,
        )
        paths.append(path)
    return paths

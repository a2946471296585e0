"""Tiles that are stored as stacks of arrays."""

from __future__ import annotations

import os

from dnas_mmseg.raster import ArrayName, array_shape

from .description import DatasetError


def list_array_tiles(
    path: str | os.PathLike, images: str = 'images', labels: str = 'labels'
) -> list[tuple[str, str]]:
    """Return the names of image and label of all tiles of two stacks.

    The names are the lines of a list file, ``image<TAB>label``. As every list, it contains absolute
    paths or paths relative to the data root: pass ``path`` in that form.

    Args:
        path: HDF5 or ``.npz`` file with both stacks; or a folder with a ``.npy`` file for each.
        images: Name of the images: (tiles, height, width), (tiles, bands, height, width) or (tiles,
            height, width, bands).
        labels: Name of the labels, (tiles, height, width).

    Returns:
        Pairs of names, ``('ARRAY:"tiles.h5":images:0', 'ARRAY:"tiles.h5":labels:0')`` and so on.

    Raises:
        RasterError: The file or a stack is missing or damaged.
        DatasetError: A stack is a single tile, or the stacks have different lengths.

    Example:
        >>> import numpy as np
        >>> np.savez('tiles.npz', images=np.zeros((2, 4, 8, 8)), labels=np.zeros((2, 8, 8)))
        >>> list_array_tiles('tiles.npz')[1]
        ('ARRAY:"tiles.npz":images:1', 'ARRAY:"tiles.npz":labels:1')
    """
    text = os.fspath(path)
    names = [
        ArrayName(os.path.join(text, f'{stack}.npy')) if os.path.isdir(text)
        else ArrayName(text, stack)
        for stack in (images, labels)
    ]  # fmt: skip
    shapes = [array_shape(name) for name in names]
    for name, shape in zip(names, shapes, strict=True):
        if len(shape) not in (3, 4):
            raise DatasetError(
                f'{name}: an array of shape {shape} is not a stack of tiles; the first axis of a '
                'stack counts the tiles'
            )
    (image, label), (number, other) = names, (shape[0] for shape in shapes)
    if number != other:
        raise DatasetError(f'{text}: {number} images in {images}, but {other} labels in {labels}')
    return [(str(image._replace(index=i)), str(label._replace(index=i))) for i in range(number)]

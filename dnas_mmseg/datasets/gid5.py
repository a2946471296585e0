"""GID-5: land cover of Gaofen-2 scenes in five classes."""

from __future__ import annotations

from typing import ClassVar

from mmseg.registry import DATASETS

from .multi_band import MultiBandSegDataset

CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 255, 255), (255, 255, 0), (0, 0, 255))
"""RGB colours of the distributed label images; unlabelled is black."""

BANDS = ('nir', 'red', 'green', 'blue')
"""Bands of the 8-bit images in file order; the 16-bit images have the reverse order."""


@DATASETS.register_module()
class GID5Dataset(MultiBandSegDataset):
    """GID-5 (Gaofen Image Dataset), cut into tiles by ``dnas convert``.

    Source: 150 scenes of Gaofen-2 at 4 m per pixel, 6800 rows x 7200 columns, partly labelled; in
    the newer release they come with Five-Billion-Pixels.

    Classes: built-up, farmland, forest, meadow, water (train ids 0 to 4).

    Format as distributed:

    * 8-bit images in the order NIR, red, green, blue: ``image_NirRGB/*.tif`` (older release) or
      ``Image__8bit_NirRGB/*.tif`` (newer release). The newer ones are tagged as CMYK, which most
      readers convert to RGBA; :class:`dnas_mmseg.raster.Raster` reads the stored samples.
    * 16-bit images in the order blue, green, red, NIR: ``Image_16bit_BGRNir/*.tiff``.
    * Labels: ``label_5classes/*_label.tif``, 8-bit RGB colours of ``PALETTE``, black unlabelled
      (older release); ``GID5/Annotation__index/*_5label.png``, 1 to 5, 0 unlabelled (newer).

    Format of the tiles: ``images/<scene>_<row>_<column>.tif`` with four bands and
    ``labels/<scene>_<row>_<column>.png`` with train ids, 255 unlabelled (``label_convention``
    ``'train_id'``). 512 x 512 pixels without overlap make 14 x 15 = 210 tiles per scene, where the
    last row and column overlap their neighbours.

    If you use this data set, cite X.-Y. Tong, G.-S. Xia, Q. Lu, H. Shen, S. Li, S. You, L. Zhang:
    "Land-cover classification with high-resolution remote sensing images using transferable deep
    models", Remote Sensing of Environment 237, 2020, https://doi.org/10.1016/j.rse.2019.111322.

    Args:
        **kwargs: Arguments of :class:`MultiBandSegDataset`.
    """

    LABEL_CONVENTION = 'train_id'
    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)

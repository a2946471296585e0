"""Virtual rasters (VRT) of scenes of several files: bands by name on one grid, with a mask."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from dnas_mmseg.bands import ambiguity_hint, band_name
from dnas_mmseg.files import file_states

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference
from .raster_info import RasterInfo
from .reading import Raster
from .remote import is_remote, open_remote, retry
from .scene_files import BandSource, MultiFileScene
from .scene_mask import MaskValues
from .strips import write_strips
from .vrt_layers import (
    SCENE_OF,
    Layer,
    add_band,
    foreign_vrt_error,
    new_vrt,
    place_layer,
    refuse_foreign_vrt,
    write_vrt,
)

Resampling = Literal['nearest', 'bilinear', 'cubic']

_ROWS = 512
"""Rows of a mask that are computed at once: those of a row of blocks."""


@dataclass(frozen=True)
class SceneStack:
    """Selected bands of a scene of several files on the grid of the finest one.

    Attributes:
        scene: The scene.
        names: Names of the selected bands, in order.
        layers: Bands, in this order.
        resampling: Resampling of bands with other pixels than the finest ones.
        masks: Layers of which 0 in the mask is invalid.
        quality: Layer of the quality band; None if no values of it are masked.
        mask_values: Values and bits of the quality band that are invalid.

    Example:
        >>> stack = SceneStack.plan(scene, bands=('nir', 'red'))  # doctest: +SKIP
        >>> stack.write('run/scenes')  # doctest: +SKIP
        PosixPath('run/scenes/S2B_MSIL2A_20230615T103629_N0509_R008_T32TQM_20230615T134321.vrt')
    """

    scene: MultiFileScene
    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    resampling: Resampling
    masks: tuple[Layer, ...]
    quality: Layer | None
    mask_values: MaskValues

    @classmethod
    def plan(
        cls,
        scene: MultiFileScene,
        *,
        bands: Sequence[str] | None = None,
        resampling: str = 'bilinear',
        mask_values: Iterable[int | str] = (),
    ) -> SceneStack:
        """Select bands and check their files; nothing is written.

        Args:
            scene: The scene.
            bands: Names or numbers of the bands, in order; defaults to all.
            resampling: ``'nearest'``, ``'bilinear'`` or ``'cubic'``.
            mask_values: Values of the quality band that mark invalid pixels, and bits, such as
                ``'bit3'``.

        Raises:
            RasterError: A band is missing, a file cannot be read, the files have different grids,
                or the mask values do not apply to the scene.
        """
        known = {name: name for name in get_args(Resampling)}
        if resampling not in known:
            raise RasterError(f"resampling '{resampling}': expected {', '.join(known)}")
        invalid = _check_mask_values(scene, MaskValues.parse(mask_values))
        names = _choose_names(scene, bands)
        infos = {path: _read_info(path) for path in {scene.bands[n].path for n in names}}
        sources = [scene.bands[name] for name in names]
        for source in sources:
            if source.band > infos[source.path].bands:
                raise RasterError(
                    f'{source.path}: {infos[source.path].bands} bands, expected at least '
                    f'{source.band}; the file is incomplete'
                )
        finest = min((infos[s.path] for s in sources), key=_pixel_area)
        layers = tuple(place_layer(s, infos[s.path], finest) for s in sources)
        masked = {layer.source.path: layer for layer in layers if _has_mask(scene, layer)}
        quality = None
        if invalid:
            assert scene.quality is not None
            source = scene.quality.source
            quality = place_layer(source, _read_info(source.path), finest)
        masks = tuple(masked.values())
        return cls(scene, names, layers, known[resampling], masks, quality, invalid)

    @property
    def grid(self) -> RasterInfo:
        """Metadata of the file with the finest pixels, whose grid the scene has."""
        return min((layer.info for layer in self.layers), key=_pixel_area)

    def describe(self) -> str:
        """Return one line about the product, its bands, their resolution, scale and mask."""
        resampled: dict[str, list[str]] = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            if layer.is_resampled:
                resampled.setdefault(_resolution(layer.info), []).append(name)
        size = _resolution(self.grid)
        text = f'{self.scene.source}: {self.scene.product}, bands {", ".join(self.names)}'
        text += f' at {size}' if size else ''
        for coarse, names in resampled.items():
            origin = f' from {coarse}' if coarse else ''
            text += f'; {", ".join(names)} resampled{origin} ({self.resampling})'
        scalings = list(dict.fromkeys(layer.scaling for layer in self.layers))
        if scalings != [(1.0, 0.0)]:
            declared = ', '.join(f'{scale:g} and {offset:g}' for scale, offset in scalings)
            text += f'; scale and offset {declared}'
        if self.quality is not None and self.scene.quality is not None:
            text += f'; masked where {self.scene.quality.name} is {self.mask_values}'
        return text

    def write(self, folder: str | os.PathLike) -> Path:
        """Write the VRT ``<folder>/<name of the scene>.vrt``.

        A mask is written to ``<name>_mask.tif`` next to it. Coarser bands whose files do not
        declare the nodata value have a VRT in ``bands/`` that does, because resampling would mix
        nodata into the samples next to it.

        Returns:
            Path of the VRT. Its paths are absolute.

        Raises:
            RasterError: A file cannot be written, or would overwrite a file of another origin.
        """
        folder = Path(folder).absolute()
        path = folder / f'{self.scene.name}.vrt'
        mask = folder / f'{self.scene.name}_mask.tif'
        refuse_foreign_vrt(path)
        if self.quality is not None or self.masks:
            self._write_mask(mask)
        grid = self.grid
        dataset = new_vrt(grid.shape, grid.georeference)
        dataset.SetMetadataItem(SCENE_OF, self.scene.source)
        if self.scene.acquired:
            dataset.SetMetadataItem('ACQUISITIONDATETIME', self.scene.acquired, 'IMAGERY')
        for name, layer in zip(self.names, self.layers, strict=True):
            source = layer.source
            nodata = self._nodata(layer)
            file, number = source.path, source.band
            method = self.resampling if layer.is_resampled else 'nearest'
            if method != 'nearest' and nodata is not None and nodata != layer.declared_nodata:
                file, number = str(self._write_band(folder, name, layer, nodata)), 1
            xml = layer.xml(file, number, method)
            band = add_band(dataset, layer, xml)
            band.SetDescription(name)
            if nodata is not None:
                band.SetNoDataValue(float(nodata))
            scale, offset = layer.scaling
            if (scale, offset) != (1.0, 0.0):
                band.SetScale(scale)
                band.SetOffset(offset)
        if self.quality is not None or self.masks:
            dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
            whole = (0.0, 0.0, float(grid.width), float(grid.height))
            xml = Layer(BandSource(str(mask)), grid, whole).xml(str(mask), 1)
            dataset.GetRasterBand(1).GetMaskBand().SetMetadataItem(
                'source_0', xml, 'new_vrt_sources'
            )
            # GDAL does not list the mask among the files of a VRT. With its origin, the VRT changes
            # when the mask does, and maps of the earlier mask are not resumed.
            dataset.SetMetadataItem('dnas_mask', self._describe_mask())
        write_vrt(path, dataset)
        return path

    def _describe_mask(self) -> str:
        """Return what determines the mask: values, files, their sizes and times."""
        layers = (*self.masks, *filter(None, [self.quality]))
        files = sorted({layer.source.path for layer in layers})
        states = file_states(path for path in files if os.path.isfile(path))
        return json.dumps([str(self.mask_values), files, states])

    def _nodata(self, layer: Layer) -> float | None:
        values = (layer.source.nodata, self.scene.nodata, layer.declared_nodata)
        return next((value for value in values if value is not None), None)

    def _write_band(self, folder: Path, name: str, layer: Layer, nodata: float) -> Path:
        """Write the VRT of a band on its own grid that declares the nodata value."""
        path = folder / 'bands' / f'{self.scene.name}_{name}.vrt'
        refuse_foreign_vrt(path)
        info = layer.info
        dataset = new_vrt(info.shape, info.georeference)
        dataset.SetMetadataItem(SCENE_OF, self.scene.source)
        own = Layer(layer.source, info, (0.0, 0.0, float(info.width), float(info.height)))
        band = add_band(dataset, own, own.xml(layer.source.path, layer.source.band))
        band.SetNoDataValue(float(nodata))
        write_vrt(path, dataset)
        return path

    def _write_mask(self, path: Path) -> None:
        """Write the mask on the grid of the scene in strips: 0 where a pixel is invalid, else 255.

        A pixel has the quality of the nearest pixel of the quality band.
        """
        if path.is_file() and not _read_info(str(path)).map_of:
            raise foreign_vrt_error(path)
        grid = self.grid
        datasets: list[Any] = []  # reopened after a failed request

        def read_rows(row: int, rows: int) -> list[np.ndarray]:
            if not datasets:
                datasets.append(self._mask_layers())
            bands = [datasets[0].GetRasterBand(i + 1) for i in range(datasets[0].RasterCount)]
            gdal.ErrorReset()
            parts = [band.ReadAsArray(0, row, grid.width, rows) for band in bands]
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
            return parts

        layers = (*self.masks, *filter(None, [self.quality]))
        remote = any(is_remote(layer.source.path) for layer in layers)
        with write_strips(
            path,
            height=grid.height,
            width=grid.width,
            georeference=grid.georeference,
            map_of=self.scene.name,
        ) as write:
            for row in range(0, grid.height, _ROWS):
                rows = min(_ROWS, grid.height - row)
                try:
                    with gdal_exceptions():
                        read = partial(read_rows, row, rows)
                        parts = retry(read, datasets.clear) if remote else read()
                except RuntimeError as error:
                    raise RasterError(
                        f'{self.scene.source}: the quality band cannot be read at row {row}; the '
                        f'file is truncated or damaged ({error})'
                    ) from error
                valid = np.ones((rows, grid.width), bool)
                for part in parts[: len(self.masks)]:
                    valid &= part != 0
                if self.quality is not None:
                    valid &= ~self.mask_values.is_invalid(parts[-1])
                write(np.where(valid, 255, 0).astype(np.uint8)[None], row)

    def _mask_layers(self) -> Any:
        """Return a VRT in memory of the masks and the quality band on the grid of the scene."""
        dataset = new_vrt(self.grid.shape, GeoReference())
        for layer in self.masks:
            add_band(dataset, layer, layer.xml(layer.source.path, 'mask,1'), gdal.GDT_Byte)
        if self.quality is not None:
            source = self.quality.source
            add_band(dataset, self.quality, self.quality.xml(source.path, source.band))
        return dataset


def build_scene_vrt(
    scene: MultiFileScene,
    folder: str | os.PathLike,
    *,
    bands: Sequence[str] | None = None,
    resampling: str = 'bilinear',
    mask_values: Iterable[int | str] = (),
) -> Path:
    """Write the VRT of a scene of several files; see :meth:`SceneStack.plan` and ``write``.

    Args:
        scene: The scene.
        folder: Folder of the VRT.
        bands: Names or numbers of the bands, in order; defaults to all.
        resampling: ``'nearest'``, ``'bilinear'`` or ``'cubic'``, for coarser bands.
        mask_values: Values and bits (``'bit3'``) of the quality band that mark invalid pixels.

    Returns:
        Path of the VRT, ``<folder>/<name of the scene>.vrt``.

    Raises:
        RasterError: See :meth:`SceneStack.plan` and :meth:`SceneStack.write`.

    Example:
        >>> scene = detect_scene('LC08_L2SP_..._02_T1.tar')  # doctest: +SKIP
        >>> build_scene_vrt(scene, 'run/scenes', bands=('nir', 'red'))  # doctest: +SKIP
    """
    stack = SceneStack.plan(scene, bands=bands, resampling=resampling, mask_values=mask_values)
    return stack.write(folder)


def _check_mask_values(scene: MultiFileScene, values: MaskValues) -> MaskValues:
    """Return mask values that apply to the quality band of a scene.

    Raises:
        RasterError: The scene has no quality band, or its values have no bits.
    """
    if not values:
        return values
    if scene.quality is None:
        raise RasterError(
            f'{scene.source}: mask values {values} are set, but the scene has no quality band (SCL '
            'of Sentinel-2 L2A, QA_PIXEL of Landsat, UDM2 of PlanetScope); omit them'
        )
    if values.bits and not scene.quality.has_flags:
        raise RasterError(
            f'{scene.source}: mask value bit{values.bits[0]}, but {scene.quality.name} has values '
            'instead of bits; set the values'
        )
    return values


def _choose_names(scene: MultiFileScene, bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the normalized names of the requested bands.

    Raises:
        RasterError: A band is missing or requested twice.
    """
    if not bands:
        return tuple(scene.bands)
    words = [f'b{int(word)}' if word.isdigit() else word for word in bands]
    names = tuple(band_name(word, scene.sensor) for word in words)
    missing = [word for word, name in zip(bands, names, strict=True) if name not in scene.bands]
    if missing:
        raise RasterError(
            f'{scene.source}: no band {", ".join(missing)}; the bands are '
            f'{", ".join(scene.bands)} ({scene.product})'
            f'{ambiguity_hint([*scene.bands, *missing])}. Use a model of these bands, or set the '
            'bands (`bands`, --bands)'
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RasterError(f'{scene.source}: band {twice[0]} is requested twice; expected once')
    return names


def _has_mask(scene: MultiFileScene, layer: Layer) -> bool:
    """Return whether a file has a mask, or an alpha band that is none of the scene's bands."""
    path, info = layer.source.path, layer.info
    used = {source.band - 1 for source in scene.bands.values() if source.path == path}
    alpha = set(range(info.bands)) - set(info.data_bands)
    return info.has_mask or bool(alpha - used)


def _read_info(path: str) -> RasterInfo:
    with Raster(path) as raster:
        info = raster.info
    if info.bands > 1:
        # A VRT opens its sources plainly, which converts such samples to RGBA.
        with gdal_exceptions():
            dataset = retry(lambda: open_remote(path)) if is_remote(path) else gdal.Open(path)
        space = dataset.GetMetadataItem('SOURCE_COLOR_SPACE', 'IMAGE_STRUCTURE')
        if space:
            raise RasterError(
                f'{path}: tagged as {space}, expected bands without a colour space; rewrite it '
                'with gdal_translate -co PHOTOMETRIC=MINISBLACK'
            )
    return info


def _pixel_area(info: RasterInfo) -> float:
    transform = info.georeference.transform
    if transform is None:
        return 1 / (info.width * info.height)
    _, dx, skew_x, _, skew_y, dy = transform
    return abs(dx * dy - skew_x * skew_y)


def _resolution(info: RasterInfo) -> str:
    """Return the size of a pixel on the ground; empty if unknown."""
    distance = info.georeference.ground_sample_distance(*info.shape)
    return '' if distance is None else f'{distance:.3g} m'

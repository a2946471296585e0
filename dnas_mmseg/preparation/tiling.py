"""Cutting of tiles from scenes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.classes import default_palette
from dnas_mmseg.datasets.checks import band_sums, check_bands, resampling_advice
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import (
    IGNORE,
    LabelEncoding,
    LabelError,
    label_samples,
    resolve_label_values,
)
from dnas_mmseg.datasets.tiles import tile_paths
from dnas_mmseg.raster import GDAL_TYPES, Raster, RasterInfo, Samples, Window, write_raster

from .scenes import Scene


@dataclass(frozen=True)
class TileSpec:
    """Parameters of the tiles cut from scenes.

    Attributes:
        classes, palette: Names and RGB colours of the classes, in train-id order.
        bands: Band names of the scenes, in file order.
        label_convention: Label convention of the scenes; tiles have train ids.
        label_values: Class of each stored label value, instead of a convention; see
            :func:`dnas_mmseg.datasets.labels.resolve_label_values`.
        size: Side of a tile, in pixels.
        stride: Distance between neighbouring tiles, in pixels; ``size`` for no overlap.
        min_labelled: Smallest share of labelled valid pixels in the part of a tile inside the
            scene; tiles below it are skipped. 0 keeps unlabelled tiles.
        scale: Sample values that are mapped to 0 and 255, for uint8 tiles; None keeps samples
            unchanged.
        nodata: Nodata value, in addition to the declared ones.
        apply_scale: Whether to apply the declared scale and offset of the bands, as float32, before
            ``scale``.

    Raises:
        DatasetError: A parameter is missing or out of range.
        LabelError: The palette does not fit the label convention.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, ...], ...]
    bands: tuple[str, ...]
    label_convention: str
    size: int = 512
    stride: int = 512
    min_labelled: float = 0.0
    scale: tuple[float, float] | None = None
    nodata: float | None = None
    apply_scale: bool = False
    label_values: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ('classes', 'bands'):
            if not getattr(self, name):
                raise DatasetError(f'the {name} of the scenes are unknown: set them in --facts')
        if not self.label_values and not self.label_convention:
            raise DatasetError(
                'the label convention of the scenes is unknown: set label_convention or '
                'label_values in --facts'
            )
        if not 0 < self.stride <= self.size:
            raise DatasetError(
                f'size = {self.size}, stride = {self.stride}: expected 0 < stride <= size'
            )
        if not 0 <= self.min_labelled <= 1:
            raise DatasetError(f'min_labelled = {self.min_labelled}: expected a share from 0 to 1')
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise DatasetError(f'scale = {self.scale}: expected two increasing values')
        self.labels  # noqa: B018  raises for an invalid palette

    @classmethod
    def from_description(cls, description: DatasetDescription, **settings: Any) -> TileSpec:
        """Return the parameters for scenes with these classes, bands and label values.

        Args:
            description: Description of the scenes, with default colours if it has no palette.
            **settings: Other attributes.
        """
        classes = description.class_names
        return cls(
            classes,
            description.palette or default_palette(len(classes)),
            description.bands,
            description.label_convention or '',
            label_values=description.label_values,
            **settings,
        )

    @property
    def labels(self) -> LabelEncoding:
        """Label encoding of the scenes."""
        if self.label_values:
            _, values = resolve_label_values(self.label_values, self.classes)
            return LabelEncoding('values', len(self.classes), self.palette, values=values)
        return LabelEncoding(self.label_convention, len(self.classes), self.palette)


@dataclass(frozen=True)
class Tile:
    """Record of a tile.

    Attributes:
        scene: Name of its scene.
        row, column: Position of the upper left pixel in the scene.
        height, width: Size of the part inside the scene, in pixels; the rest is padding.
        size: Side of the tile, in pixels.
        image_sha256, label_sha256: Checksums of the files.
        dtype: Name of the image's numpy type.
        pixels: Number of valid pixels of the image.
        totals, squares: Sum and sum of squares per band over the valid pixels, (bands,).
        class_pixels: Labelled pixels per class, (num_classes,).
    """

    scene: str
    row: int
    column: int
    height: int
    width: int
    size: int
    image_sha256: str
    label_sha256: str
    dtype: str
    pixels: int
    totals: list[float]
    squares: list[float]
    class_pixels: list[int]

    @property
    def paths(self) -> tuple[str, str]:
        """Paths of image and label, relative to the data root."""
        return tile_paths(self.scene, self.row, self.column)


def check_scene(scene: Scene, tiling: TileSpec) -> tuple[RasterInfo, list[str]]:
    """Check a scene before cutting it.

    Returns:
        Metadata of the image; and notes for the user, one line each.

    Raises:
        DatasetError: Bands or sample type are unsupported, or the label differs in size or
            georeference.
    """
    with Raster(scene.image) as image, Raster(scene.label) as label:
        info, labelled = image.info, label.info
    index, problems, warnings, notes = check_bands(info, tiling.bands)
    if problems:
        raise DatasetError(problems[0])
    dtype = 'float32' if tiling.apply_scale else info.dtype_of(index)
    if tiling.scale is None and dtype not in GDAL_TYPES:
        raise DatasetError(
            f'{scene.image}: unsupported sample type {dtype}; tiles support {", ".join(GDAL_TYPES)}'
        )
    if labelled.shape != info.shape:
        raise DatasetError(
            f'{scene.label}: label of {labelled.shape} for a scene of {info.shape}: '
            + (
                'resample it to the grid of the scene by --label-resampling nearest (or mode)'
                if labelled.georeference.is_defined
                else resampling_advice(*info.shape)
            )
        )
    misalignment = info.georeference.describe_misalignment(labelled.georeference, *info.shape)
    if misalignment:
        raise DatasetError(
            f"{scene.label}: its georeference differs from its scene's: {misalignment}. Resample "
            'it to the grid of the scene by --label-resampling nearest (or mode)'
        )
    contradiction = tiling.labels.check_colour_table(labelled.colour_table)
    if contradiction:
        warnings.append(f'{scene.label}: {contradiction}')
    return info, warnings + notes


def cut_windows(
    scene: Scene, windows: Sequence[Window], tiling: TileSpec, out: Path
) -> tuple[list[Tile], Counter[str]]:
    """Cut tiles from a scene, one window at a time.

    Labels become train ids, with 255 for unlabelled pixels and invalid pixels of the image. Tiles
    are georeferenced. Validity is preserved by the nodata value if that is sufficient, otherwise by
    a mask. Tiles are padded beyond the scene with invalid pixels: nodata, or else 0, in the image,
    and 255 in the label.

    Args:
        scene: Scene to cut.
        windows: Windows of :func:`dnas_mmseg.datasets.tiles.tile_windows`.
        tiling: Parameters of the tiles.
        out: Data root to write.

    Returns:
        Tiles with enough labelled pixels; and number of pixels of each unknown label value.

    Raises:
        DatasetError: The label has the wrong number of bands.
    """
    tiles: list[Tile] = []
    unknown: Counter[str] = Counter()
    with (
        Raster(scene.image, tiling.nodata, tiling.apply_scale) as image,
        Raster(scene.label) as label,
    ):
        info = image.info
        bands = check_bands(info, tiling.bands)[0]
        for window in windows:
            inside = window._replace(
                height=min(window.height, info.height - window.row_off),
                width=min(window.width, info.width - window.col_off),
            )
            try:
                ids, unknown_here = tiling.labels.encode_known(
                    label_samples(label, tiling.labels, inside)
                )
            except LabelError as error:
                raise DatasetError(f'{scene.label}: {error}') from None
            unknown.update(unknown_here)
            stored = image.samples(inside, bands)
            samples, invalid = stored.values, stored.invalid
            labelled = ids if invalid is None else np.where(invalid, IGNORE, ids)
            if (labelled != IGNORE).mean() < tiling.min_labelled:
                continue
            # A TIFF has one nodata value for all bands; a mask covers other cases.
            declared = set(stored.nodata)
            nodata = next(iter(declared)) if len(declared) == 1 else None
            if declared == {None} and not tiling.apply_scale:
                nodata = tiling.nodata
            if tiling.scale is not None:
                may_have_invalid = info.may_have_invalid or tiling.nodata is not None
                samples = _scale_to_uint8(samples, tiling.scale, invalid, may_have_invalid)
                nodata = 0 if may_have_invalid else None
            pixels, totals, squares = band_sums(samples, invalid)
            counts = np.bincount(labelled.ravel(), minlength=IGNORE + 1)[: len(tiling.classes)]
            paths = [out / path for path in tile_paths(scene.name, window.row_off, window.col_off)]
            ids = _pad(labelled[None], tiling.size, IGNORE)
            if invalid is None:
                invalid = np.zeros(labelled.shape, bool)
            invalid = _pad(invalid[None], tiling.size, True)[0]
            samples = _pad(samples, tiling.size, _padding_value(nodata, samples.dtype))
            is_marked = not invalid.any() or nodata_suffices(samples, nodata, invalid)
            write_raster(
                paths[0],
                samples,
                names=tiling.bands,
                nodata=nodata,
                valid=None if is_marked else ~invalid,
                georeference=info.georeference.moved(window.row_off, window.col_off),
            )
            write_raster(paths[1], ids, palette=tiling.palette)
            image_sum, label_sum = (hashlib.sha256(p.read_bytes()).hexdigest() for p in paths)
            tiles.append(
                Tile(
                    scene.name, inside.row_off, inside.col_off, inside.height, inside.width,
                    tiling.size, image_sum, label_sum, samples.dtype.name, pixels, totals.tolist(),
                    squares.tolist(), counts.tolist(),
                )
            )  # fmt: skip
    return tiles, unknown


def _scale_to_uint8(
    samples: np.ndarray,
    scale: tuple[float, float],
    invalid: np.ndarray | None,
    may_have_invalid: bool,
) -> np.ndarray:
    """Scale samples to uint8; if there may be invalid pixels, 0 is reserved for them."""
    low, high = scale
    scaled = np.rint((np.nan_to_num(samples.astype(np.float32)) - low) * (255 / (high - low)))
    scaled = scaled.clip(1 if may_have_invalid else 0, 255)
    if invalid is not None:
        scaled[:, invalid] = 0
    return scaled.astype(np.uint8)


def nodata_suffices(samples: np.ndarray, nodata: float | None, invalid: np.ndarray) -> bool:
    """Return whether a tile's nodata value alone marks all invalid pixels and no others."""
    marked = Samples(samples, (nodata,) * len(samples)).invalid
    return marked is not None and bool((marked == invalid).all())


def _padding_value(nodata: float | None, dtype: np.dtype) -> Any:
    """Return the nodata value, or 0 if there is none that the type can hold."""
    if nodata is not None:
        with np.errstate(invalid='ignore'):
            value = np.full((1, 1, 1), nodata).astype(dtype)
        if Samples(value, (nodata,)).invalid is not None:
            return value[0, 0, 0]
    return 0


def _pad(samples: np.ndarray, size: int, value: Any) -> np.ndarray:
    rows, columns = size - samples.shape[1], size - samples.shape[2]
    return np.pad(samples, ((0, 0), (0, rows), (0, columns)), constant_values=value)

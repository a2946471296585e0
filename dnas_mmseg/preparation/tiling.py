"""Windows of a scene, and how a window becomes a tile."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.checks import band_sums, check_bands, resampling_advice
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelError, label_samples
from dnas_mmseg.datasets.tiles import tile_paths
from dnas_mmseg.raster import GDAL_TYPES, Raster, RasterInfo, Samples, Window, write_raster

from .scenes import Scene


@dataclass(frozen=True)
class Tiling:
    """Description of how scenes become tiles: all that decides which tiles there are, and how.

    Attributes:
        classes, palette: Names and colours of the classes, in train-id order.
        bands: Names of the scenes' bands, in file order.
        label_convention: Convention of the scenes' labels; the tiles' are train ids.
        size: Side of a tile, in pixels.
        stride: Distance from a tile to the next, in pixels; they touch where it equals ``size``.
        min_labelled: Share of labelled pixels below which a tile is left out, of the part in the
            scene, where the image has data. With 0, wholly unlabelled tiles stay.
        scale: Two sample values between which samples become 0 to 255, as uint8; None leaves all as
            they are.
        nodata: Value that is nodata beside what the scenes declare.
        apply_scale: Whether to apply the scale and offset that the scenes' bands declare, as
            float32; ``scale`` is of the result then.
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

    def __post_init__(self) -> None:
        for name in ('classes', 'bands', 'label_convention'):
            if not getattr(self, name):
                raise DatasetError(f'the {name} of the scenes are unknown')
        if not 0 < self.stride <= self.size:
            raise DatasetError(
                f'tiles of {self.size} pixels every {self.stride}: 0 < stride <= size is needed'
            )
        if not 0 <= self.min_labelled <= 1:
            raise DatasetError(f'min_labelled = {self.min_labelled}: a share of 0 to 1 is needed')
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise DatasetError(f'scale = {self.scale}: the first must be below the second')
        self.labels  # noqa: B018  a palette that does not fit is refused here, not in a scene

    @property
    def labels(self) -> LabelEncoding:
        """Encoding by which the scenes' labels are read."""
        return LabelEncoding(self.label_convention, len(self.classes), self.palette)


@dataclass(frozen=True)
class Tile:
    """A tile that was tiling.

    Attributes:
        scene: Name of its scene.
        row, column: Position of the tile's upper left corner in the scene, in pixels.
        height, width: Size of the part that lies in the scene, in pixels; the rest is padding.
        size: Side of the tile, in pixels.
        image_sha256, label_sha256: Checksums of the two files.
        dtype: Name of the numpy type of the image's samples.
        pixels: Number of valid pixels of the image.
        totals, squares: Sum and sum of squares of each band over the valid pixels, (bands,).
        class_pixels: Number of labelled pixels of each class, (num_classes,).
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


def check_scene(scene: Scene, tiling: Tiling) -> tuple[RasterInfo, list[str]]:
    """Check a scene before it is tiling.

    Returns:
        Description of its image, and notes for the user, a line each.

    Raises:
        DatasetError: The scene has other bands or a type that tiles cannot have, or its label
            another size or place.
    """
    with Raster(scene.image) as image, Raster(scene.label) as label:
        info, labelled = image.info, label.info
    index, problems, warnings, notes = check_bands(info, tiling.bands)
    if problems:
        raise DatasetError(problems[0])
    dtype = 'float32' if tiling.apply_scale else info.dtype_of(index)
    if tiling.scale is None and dtype not in GDAL_TYPES:
        raise DatasetError(
            f'{scene.image}: samples are {dtype}, tiles can be {", ".join(GDAL_TYPES)}'
        )
    if labelled.shape != info.shape:
        raise DatasetError(
            f'{scene.label}: label of {labelled.shape} for a scene of {info.shape}: '
            f'{resampling_advice(*info.shape)}'
        )
    apart = info.georeference.describe_misalignment(labelled.georeference, *info.shape)
    if apart:
        raise DatasetError(
            f"{scene.label}: its georeference is not its scene's: {apart}. Warp it to the scene's "
            'grid (gdalwarp -r near -t_srs ... -te ... -ts ...)'
        )
    contradiction = tiling.labels.check_colour_table(labelled.colour_table)
    if contradiction:
        warnings.append(f'{scene.label}: {contradiction}')
    return info, warnings + notes


def cut_windows(
    scene: Scene, windows: Sequence[Window], tiling: Tiling, out: Path
) -> tuple[list[Tile], Counter[str]]:
    """Cut tiles out of a scene, reading a window at a time.

    Labels become train ids with 255 for unlabelled and where the image is invalid. Tiles keep their
    place in the scene's reference system. They also keep which pixels are invalid, by the nodata
    value where that suffices, else by a mask. Where the scene ends inside a tile, the image is 0
    and the label 255.

    Args:
        scene: Scene to tiling.
        windows: Windows of :func:`tile_windows`.
        tiling: Description of the tiles.
        out: Data root to write.

    Returns:
        Tiles that have enough labelled pixels; and numbers of pixels of the unknown label values.

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
                ids, odd = tiling.labels.encode_known(label_samples(label, tiling.labels, inside))
            except LabelError as error:
                raise DatasetError(f'{scene.label}: {error}') from None
            unknown.update(odd)
            stored = image.samples(inside, bands)
            samples, missing = stored.values, stored.invalid
            labelled = ids if missing is None else np.where(missing, IGNORE, ids)
            if (labelled != IGNORE).mean() < tiling.min_labelled:
                continue
            # A TIFF has one nodata value for all bands; elsewhere a mask says what is invalid.
            declared = set(stored.nodata)
            nodata = next(iter(declared)) if len(declared) == 1 else None
            if declared == {None} and not tiling.apply_scale:
                nodata = tiling.nodata
            if tiling.scale is not None:
                has_gaps = info.may_have_invalid or tiling.nodata is not None
                samples = _scaled(samples, tiling.scale, missing, has_gaps)
                nodata = 0 if has_gaps else None
            pixels, totals, squares = band_sums(samples, missing)
            counts = np.bincount(labelled.ravel(), minlength=IGNORE + 1)[: len(tiling.classes)]
            paths = [out / path for path in tile_paths(scene.name, window.row_off, window.col_off)]
            samples, ids = (
                _padded(samples, tiling.size, 0),
                _padded(labelled[None], tiling.size, IGNORE),
            )
            valid = None
            if missing is not None and not _told_by_nodata(samples, nodata, missing):
                valid = _padded(~missing[None], tiling.size, 0)[0]
            write_raster(
                paths[0],
                samples,
                names=tiling.bands,
                nodata=nodata,
                valid=valid,
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


def _scaled(
    samples: np.ndarray, scale: tuple[float, float], missing: np.ndarray | None, has_gaps: bool
) -> np.ndarray:
    """Return the samples as uint8; where there may be gaps, 0 is in them and nowhere else."""
    low, high = scale
    scaled = np.rint((np.nan_to_num(samples.astype(np.float32)) - low) * (255 / (high - low)))
    scaled = scaled.clip(1 if has_gaps else 0, 255)
    if missing is not None:
        scaled[:, missing] = 0
    return scaled.astype(np.uint8)


def _told_by_nodata(samples: np.ndarray, nodata: float | None, invalid: np.ndarray) -> bool:
    """Return whether a tile's nodata value alone marks the invalid pixels."""
    rows, columns = invalid.shape
    outside = Samples(samples[:, :rows, :columns], (nodata,) * len(samples)).invalid
    return outside is not None and bool((outside == invalid).all())


def _padded(samples: np.ndarray, size: int, value: int) -> np.ndarray:
    rows, columns = size - samples.shape[1], size - samples.shape[2]
    return np.pad(samples, ((0, 0), (0, rows), (0, columns)), constant_values=value)

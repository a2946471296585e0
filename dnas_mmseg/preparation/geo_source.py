"""GeoDatasets of torchgeo: their bands, classes, queries on the pixel grid, and samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import LabelEncoding, resolve_label_values
from dnas_mmseg.datasets.torchgeo_metadata import (
    import_torchgeo,
    known_classes,
    known_palette,
    normalize_bands,
    one_line,
)
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import GeoReference, Raster, RasterError, Samples

Bounds = tuple[float, float, float, float]
"""West, south, east and north, in units of the CRS."""

PROGRAM = 'cut_geo_dataset'
"""Provenance entry of a data root that may be overwritten."""


def align_bounds(
    bounds: Bounds, resolution: tuple[float, float], origin: tuple[float, float] | None = None
) -> tuple[Bounds, tuple[int, int]]:
    """Round bounds to whole pixels of a grid.

    Args:
        bounds: West, south, east and north.
        resolution: Width and height of a pixel, positive.
        origin: West and north of any pixel of the grid; defaults to the corner of ``bounds``.

    Returns:
        Bounds, moved by at most half a pixel; and their height and width in pixels.

    Example:
        >>> align_bounds((0.4, 0.4, 4.4, 2.4), (1.0, 1.0), origin=(10.0, 10.0))
        ((0.0, 0.0, 4.0, 2.0), (2, 4))
    """
    west, south, east, north = bounds
    across, down = resolution
    width, height = round((east - west) / across), round((north - south) / down)
    if origin is not None:
        west = origin[0] + _round((west - origin[0]) / across) * across
        north = origin[1] - _round((origin[1] - north) / down) * down
    return (west, north - height * down, west + width * across, north), (height, width)


def bounds_georeference(bounds: Bounds, resolution: tuple[float, float], crs: str) -> GeoReference:
    """Return the georeference of a raster whose rows run from north to south.

    Args:
        bounds: West, south, east and north.
        resolution: Width and height of a pixel, positive.
        crs: CRS as WKT.

    Example:
        >>> bounds_georeference((500.0, 0.0, 510.0, 90.0), (2.0, 3.0), '').transform
        (500.0, 2.0, 0.0, 90.0, 0.0, -3.0)
    """
    west, _, _, north = bounds
    return GeoReference(crs, transform=(west, resolution[0], 0.0, north, 0.0, -resolution[1]))


class GeoQuery(NamedTuple):
    """Query of a sampler on the pixel grid."""

    scene: str
    row: int
    column: int
    bounds: Bounds
    shape: tuple[int, int]
    period: slice


class GeoBand(NamedTuple):
    """Facts on a band of a data set's files."""

    name: str
    dtype: str
    nodata: float | None


class GeoSource:
    """A ``GeoDataset``: its files, queries and samples.

    Args:
        dataset: Data set of torchgeo.
        nodata: Nodata value set by the user.
    """

    def __init__(self, dataset: Any, nodata: float | None) -> None:
        module = import_torchgeo('torchgeo.datasets', PROGRAM)
        if not isinstance(dataset, module.GeoDataset):
            found = dataset if isinstance(dataset, str) else type(dataset).__name__
            raise DatasetError(
                f'{found} is not a GeoDataset of torchgeo: expected an object such as images & '
                'masks. TorchGeoDataset trains on the samples of a NonGeoDataset as they are'
            )
        try:
            bounds = dataset.bounds
        except AttributeError:
            raise DatasetError(
                f'{type(dataset).__name__}: its index has no times, which the samplers of torchgeo '
                'require: build it without spatial_only=True'
            ) from None
        if not isinstance(bounds[0], slice):
            version = import_torchgeo('torchgeo', PROGRAM).__version__
            raise DatasetError(f'torchgeo {version}: {PROGRAM} requires torchgeo 0.8 or later')
        self.dataset, self.nodata = dataset, nodata
        self._union = module.UnionDataset
        self._outlines: dict[str, Any] = {}
        self.leaves = list(_leaves(dataset))
        self.images = [leaf for leaf in self.leaves if is_image(leaf)]
        self.name = type((self.images or self.leaves)[0]).__name__
        across, down = dataset.res
        self.resolution = float(across), float(down)
        self.crs = dataset.crs.to_wkt()
        self.image_bands = self._file_bands(dataset, True)
        self.mask_bands = self._file_bands(dataset, False)

    @property
    def crs_name(self) -> str:
        """CRS as ``EPSG:<code>``, or as WKT."""
        code = GeoReference(self.crs).epsg
        return self.crs if code is None else f'EPSG:{code}'

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height of the data set, in pixels."""
        sides = zip(self.dataset.bounds, self.resolution, strict=False)
        width, height = (round((side.stop - side.start) / step) for side, step in sides)
        return width, height

    def queries(self, sampler: Iterable, name: str) -> Iterator[GeoQuery]:
        """Yield the queries of a sampler inside the data set, each place and period once."""
        found = []
        for query in sampler:
            is_valid = len(query) == 3 and all(isinstance(side, slice) for side in query)
            if not is_valid or any(side.step is not None for side in query):
                raise DatasetError(
                    f'{self.name}: the query {query}: expected slices of x, y and time without '
                    'steps; set the resolution by the argument res of the data set'
                )
            x, y, period = query
            bounds = (float(x.start), float(y.start), float(x.stop), float(y.stop))
            origin = self._pixel_origin(bounds, period)
            bounds, shape = align_bounds(bounds, self.resolution, origin)
            if self._has_pixels(bounds, period):
                found.append((bounds, shape, period))
        if not found:
            return
        across, down = self.resolution
        west = min(bounds[0] for bounds, _, _ in found)
        north = max(bounds[3] for bounds, _, _ in found)
        scenes = _name_periods(name or self.name, [period for _, _, period in found])
        written = set()
        for bounds, shape, period in found:
            row, column = round((north - bounds[3]) / down), round((bounds[0] - west) / across)
            scene = scenes[period.start, period.stop]
            if (scene, row, column) not in written:
                written.add((scene, row, column))
                yield GeoQuery(scene, row, column, bounds, shape, period)

    def coverage(self, query: GeoQuery) -> np.ndarray:
        """Return which pixels have their centre in the data set, boolean (H, W)."""
        (west, _, _, north), (height, width) = query.bounds, query.shape
        x = west + (np.arange(width) + 0.5) * self.resolution[0]
        y = north - (np.arange(height) + 0.5) * self.resolution[1]
        return self._cover(self.dataset, query, *np.meshgrid(x, y))

    def _cover(self, dataset: Any, query: GeoQuery, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if hasattr(dataset, 'datasets'):
            combine = np.logical_or if isinstance(dataset, self._union) else np.logical_and
            return combine.reduce([self._cover(part, query, x, y) for part in dataset.datasets])
        shapely = import_module('shapely')
        entries = _entries(dataset, query.bounds, query.period)
        outlines = list(entries.geometry)
        if hasattr(dataset, 'is_image') and 'filepath' in entries:
            outlines = list(map(self._outline, entries.filepath, outlines))
        covered = np.zeros(query.shape, bool)
        for outline in outlines:
            shapely.prepare(outline)
            covered |= shapely.contains_xy(outline, x, y)
        return covered

    def _outline(self, path: str, box: Any) -> Any:
        """Return the outline of a file in the CRS of the data set.

        The index has the bounding box, whose corners torchgeo fills with 0 if it warps the file.
        """
        if path not in self._outlines:
            self._outlines[path] = box
            with suppress(RasterError), Raster(path) as raster:
                reference = raster.info.georeference
                if reference.describe_crs_difference(GeoReference(self.crs)):
                    points = reference.outline(*raster.info.shape, self.crs)
                    if points is not None:
                        # Warping mixes the outermost pixel with the fill value.
                        margin = -max(self.resolution)
                        outline = import_module('shapely').Polygon(points).buffer(margin)
                        self._outlines[path] = outline
        return self._outlines[path]

    def read(self, query: GeoQuery) -> tuple[np.ndarray, np.ndarray]:
        """Return image, (bands, H, W), and mask, (H, W) or (bands, H, W), of a query."""
        west, south, east, north = query.bounds
        place = f'{self.name} at {west:.9g} {south:.9g} {east:.9g} {north:.9g}'
        try:
            sample = self.dataset[slice(west, east), slice(south, north), query.period]
        except Exception as error:  # whatever the code of the data set raises
            raise DatasetError(f'{place}: torchgeo cannot load it: {one_line(error)}') from error
        for key in ('image', 'mask'):
            if key not in sample:
                advice = 'intersect images and masks: images & masks'
                if key == 'image' and self.dataset is self.leaves[0]:
                    advice += '; masks are a RasterDataset with is_image = False'
                raise DatasetError(
                    f'{place}: the sample has no {key}; it contains {", ".join(sample)}: {advice}'
                )
        image, mask = np.asarray(sample['image']), np.asarray(sample['mask'])
        if image.ndim != 3 or image.shape[1:] != query.shape or mask.shape[-2:] != query.shape:
            height, width = query.shape
            raise DatasetError(
                f'{place}: image of {image.shape}, mask of {mask.shape}; expected (bands, {height},'
                f' {width}) and ({height}, {width}): transforms must not change the size'
            )
        return image, mask

    def samples(self, image: np.ndarray, covered: np.ndarray) -> Samples:
        """Return an image with its validity."""
        declared = [band.nodata for band in self.image_bands]
        if len(declared) != len(image):  # a transform has added or removed bands
            declared = [None] * len(image)
        masked = None if covered.all() else ~covered
        return Samples(image, tuple(declared), masked, user_nodata=self.nodata)

    def labels(
        self,
        classes: Sequence[str],
        values: Mapping[Any, str | None] | Sequence[int] | None,
        convention: str,
    ) -> tuple[tuple[str, ...], LabelEncoding]:
        """Return class names and the encoding of the masks."""
        if values:
            names, resolved = resolve_label_values(values, tuple(classes))
            return names, LabelEncoding('values', len(names), values=resolved)
        known = (known_classes(leaf) for leaf in self.leaves)
        names = tuple(classes) or next(filter(None, known), ())
        if not names:
            raise DatasetError(
                f'{self.name}: the classes are unknown; set label_values={{value: name}}, or '
                'classes=(...) in the order of the mask values'
            )
        if convention not in ('train_id', 'index'):
            raise DatasetError(
                f"label_convention='{convention}': masks contain indices; choose 'train_id' (0 .. "
                "n-1, 255 unlabelled) or 'index' (1 .. n, 0 unlabelled), or set label_values"
            )
        return names, LabelEncoding(convention, len(names))

    def palette(self, labels: LabelEncoding) -> tuple[tuple[int, ...], ...]:
        """Return the colours that the masks have for train ids; empty if they have none."""
        if labels.convention != 'train_id':
            return ()
        found = (
            known_palette(leaf, labels.num_classes) for leaf in self.leaves if not is_image(leaf)
        )
        return next(filter(None, found), ())

    def _file_bands(self, dataset: Any, images: bool) -> list[GeoBand]:
        """Return facts on the bands of images or masks; empty if unknown."""
        if hasattr(dataset, 'datasets'):
            parts = [self._file_bands(part, images) for part in dataset.datasets]
            if isinstance(dataset, self._union):
                return next(filter(None, parts), [])
            return [band for part in parts for band in part]
        if getattr(dataset, 'is_image', None) is not images or 'filepath' not in dataset.index:
            return []
        try:
            with Raster(dataset.index.filepath.iloc[0]) as raster:
                info = raster.info
        except RasterError:
            return []
        # rasterio.merge writes 0 to masked pixels of files without a nodata value.
        fill = 0.0 if info.has_mask else None
        facts = [
            GeoBand(band, dtype, fill if value is None else value)
            for band, dtype, value in zip(info.band_names, info.dtypes, info.nodata, strict=True)
        ]
        names = tuple(dataset.bands or ())
        if dataset.separate_files:
            facts = facts[:1] * len(names)
        elif dataset.band_indexes:
            facts = [facts[i - 1] for i in dataset.band_indexes]
        if len(names) == len(facts):
            with suppress(UserError):  # band numbers of an unknown sensor
                known = normalize_bands(names, dataset.rgb_bands)
                return [fact._replace(name=name) for fact, name in zip(facts, known, strict=True)]
            return [fact._replace(name='') for fact in facts]
        return facts

    def _has_pixels(self, bounds: Bounds, period: slice) -> bool:
        """Return whether bounds contain more of the data set than the margin of a pixel.

        Rounding errors of torchgeo's grid add tiles outside the data set.
        """
        (west, south, east, north), (across, down) = bounds, self.resolution
        inner = west + across / 2, south + down / 2, east - across / 2, north - down / 2
        return not _entries(self.dataset, inner, period).empty

    def _pixel_origin(self, bounds: Bounds, period: slice) -> tuple[float, float] | None:
        """Return west and north of the first image file of a query; None without files."""
        for leaf in self.images:
            for geometry in _entries(leaf, bounds, period).geometry:
                west, _, _, north = geometry.bounds
                return west, north
        return None


def _leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets of which intersections and unions consist."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _leaves(part)
    else:
        yield dataset


def is_image(leaf: Any) -> bool:
    return getattr(leaf, 'is_image', False)


def _entries(dataset: Any, bounds: Bounds, period: slice) -> Any:
    """Return the part of a data set's index that a query touches, as torchgeo selects it."""
    interval = import_module('pandas').Interval(period.start, period.stop)
    west, south, east, north = bounds
    return dataset.index[dataset.index.index.overlaps(interval)].cx[west:east, south:north]


def _name_periods(name: str, periods: Sequence[slice]) -> dict[tuple[Any, Any], str]:
    """Return the scene of each period: the name, followed by a date if there are several."""
    found = sorted({(period.start, period.stop) for period in periods})
    if len(found) == 1:
        return {found[0]: name}
    dates = [f'{start:%Y%m%d}' for start, _ in found]
    if len(set(dates)) < len(dates):
        dates = [str(i) for i in range(len(dates))]
    return {period: f'{name}-{date}' for period, date in zip(found, dates, strict=True)}


def _round(value: float) -> int:
    """Round to the nearest integer, a half up, also if it is not exact."""
    return math.floor(value + 0.5 + 1e-6)

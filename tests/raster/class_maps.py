"""Small class maps for tests."""

import numpy as np
from osgeo import osr

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.raster import GeoReference, write_raster, write_strips

CLASSES = ClassScheme(('forest', 'water', 'town'), ((0, 128, 0), (0, 0, 255), (255, 0, 0)))


def wkt(code):
    """Return an EPSG code as WKT."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(code)
    return crs.ExportToWkt()


def write_map(path, samples, crs, transform, classes=CLASSES, confidence=None):
    """Write a class map, and its confidence in the folder ``confidence``."""
    reference = GeoReference(crs=wkt(crs) if crs else '', transform=transform)
    height, width = samples.shape
    with write_strips(
        path, height=height, width=width, nodata=255, georeference=reference, classes=classes,
        resampling='MODE', map_of=path.name,
    ) as write:  # fmt: skip
        write(samples[None], 0)
    if confidence is not None:
        target = path.parent / 'confidence' / path.name
        write_raster(target, confidence, nodata=255, georeference=reference)
    return path


def random_classes(rng, height, width, missing=0.2):
    """Return random train ids; ``missing`` of them are nodata."""
    samples = rng.integers(0, 3, (height, width)).astype(np.uint8)
    samples[rng.random((height, width)) < missing] = 255
    return samples


def transform_pixels(place, shape, target):
    """Return x and y of the centres of all pixels in another CRS, one by one, (rows, columns)."""
    systems = []
    for crs in (place.crs, target):
        systems.append(osr.SpatialReference())
        systems[-1].ImportFromWkt(crs)
        systems[-1].SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    x, dx, skew_x, y, skew_y, dy = place.transform
    rows, columns = (v.ravel() + 0.5 for v in np.mgrid[0 : shape[0], 0 : shape[1]])
    points = np.stack([x + columns * dx + rows * skew_x, y + columns * skew_y + rows * dy], 1)
    found = osr.CoordinateTransformation(*systems).TransformPoints(points.tolist())
    return np.array(found)[:, :2].T.reshape(2, *shape)

"""A folder with the files that README and manual speak of, small; a fresh one for each page.

python -m tests.sandbox FOLDER      # to type the commands of a page by hand
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from osgeo import osr

from dnas_mmseg.datasets import fbp, gid5
from dnas_mmseg.preparation.synthetic import write_scenes
from dnas_mmseg.raster import GeoReference, read_raster, write_polygons, write_raster

from .raster.products import LANDSAT_L2, write_landsat, write_safe

ROOT = Path(__file__).parent.parent
BANDS = ('red', 'green', 'blue', 'nir')
CLASSES = ('roof', 'road', 'tree')
TILE = 64
SCENE, SCENES = 64, 6


def make_sandbox(folder: Path) -> None:
    """Write everything but what the commands themselves make."""
    rng = np.random.default_rng(0)
    _write_tiles(folder / 'data/mine', rng)
    for name in ('images', 'labels'):
        (folder / name).symlink_to(Path('data/mine') / name)
    _write_scenes(folder, rng)
    _write_products(folder, rng)
    _write_catalogue(folder)
    _write_districts(folder / 'districts.geojson')
    example, *_ = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/data.md').read_text(), re.S)
    (folder / 'mine.py').write_text(example)
    # Networks to compare it with, and one of each space on the same tiles.
    (folder / 'other.py').write_text(
        "_base_ = 'mine.py'\nmodel = dict(decode_head=dict(decoder_channels=(16, 16, 24, 32)))\n"
    )
    (folder / 'mine.json').write_text(
        json.dumps(
            {
                'classes': CLASSES,
                'palette': [[200, 0, 0], [90, 90, 90], [0, 120, 0]],
                'bands': BANDS,
                'label_convention': 'index',
            }
        )
    )
    (folder / 'configs').symlink_to(ROOT / 'configs')
    release = folder / 'Large-scale Classification_5classes'
    write_scenes(release, count=6, size=64)
    (folder / 'label_5classes').symlink_to(release / 'label_5classes')
    _write_five_billion_pixels(folder / 'Five-Billion-Pixels', release, rng)
    for split, numbers in (('train', '0123'), ('val', '4'), ('test', '5')):
        names = (f'GF2_PMS1__L1A000000000{n}-MSS1\n' for n in numbers)
        (folder / f'{split}_scenes.txt').write_text(''.join(names))
    _write_checkpoint(ROOT / 'configs/dnas/dnas_l14_gid5.py', folder / 'best_mIoU_epoch_187.pth')


def _land(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of four bands and train ids of three classes in blocks."""
    ids = np.kron(rng.integers(0, 3, (size // 8, size // 8)), np.ones((8, 8), int))
    samples = rng.integers(0, 40, (4, size, size)) + 60 * ((ids + np.arange(4)[:, None, None]) % 3)
    return samples.astype(np.uint8), ids.astype(np.uint8)


def _place(column: int) -> GeoReference:
    system = osr.SpatialReference()
    system.ImportFromEPSG(32650)
    return GeoReference(system.ExportToWkt(), 0.0, (5e5 + 1000 * column, 1.0, 0.0, 4e6, 0.0, -1.0))


def _write_tiles(root: Path, rng: np.random.Generator) -> None:
    for i in range(40):
        samples, ids = _land(rng, TILE)
        write_raster(root / f'images/t{i}.tif', samples, names=BANDS, georeference=_place(i))
        write_raster(root / f'labels/t{i}.png', ids + 1)
    for split, numbers in (('train', range(32)), ('val', range(32, 36)), ('test', range(36, 40))):
        lines = (f'images/t{i}.tif\tlabels/t{i}.png\n' for i in numbers)
        (root / f'{split}.txt').write_text(''.join(lines))


def _write_scenes(folder: Path, rng: np.random.Generator) -> None:
    """Write scenes and their labels as rasters and polygons, and one scene without a label."""
    ground = np.full((SCENE, 1000 * SCENES), 255, np.uint8)
    for i in range(SCENES):
        samples, ids = _land(rng, SCENE)
        write_raster(
            folder / f'scenes/s{i}.tif', samples, names=BANDS, georeference=_place(100 + i)
        )
        for suffix in ('', '_gt'):
            write_raster(folder / f'truth/s{i}{suffix}.png', ids + 1)
        ground[:, 1000 * i : 1000 * i + SCENE] = ids
    samples, _ = _land(rng, SCENE)
    write_raster(folder / 'scene.tif', samples, names=BANDS, georeference=_place(100 + SCENES))
    drawn = ground.copy()
    drawn[:, ::16] = 255  # gaps between the polygons
    for name, values, classes in (
        ('fields', drawn, CLASSES),
        ('area', np.where(ground < 255, 0, 255).astype(np.uint8), ('area',)),
    ):
        with tempfile.TemporaryDirectory() as temporary:
            source = Path(temporary) / 'values.tif'
            write_raster(source, values, nodata=255, georeference=_place(100))
            write_polygons(source, folder / f'{name}.gpkg', classes)
    _write_land_cover(folder / 'WorldCover.tif', rng)


def _write_land_cover(path: Path, rng: np.random.Generator) -> None:
    """Write classes of 1e-4 degrees (about 10 m) below the scenes, in WorldCover's codes."""
    corners = [(0, 0), (1000 * SCENES, SCENE)]
    (west, north), (east, south) = _place(100).to_lonlat(corners)
    shape = (round((north - south) / 1e-4) + 40, round((east - west) / 1e-4) + 40)
    codes = rng.choice(np.array([10, 30, 40, 80], np.uint8), shape)
    system = osr.SpatialReference()
    system.ImportFromEPSG(4326)
    transform = (west - 2e-3, 1e-4, 0.0, north + 2e-3, 0.0, -1e-4)
    write_raster(path, codes, georeference=GeoReference(system.ExportToWkt(), 0.0, transform))


def _write_products(folder: Path, rng: np.random.Generator) -> None:
    samples, _ = _land(rng, 64)
    samples = samples.astype(np.uint16)[:, None]
    scl = np.full((1, 32, 32), 4, np.uint8)
    bands = zip(('B04', 'B03', 'B02', 'B08'), samples, strict=True)
    write_safe(folder, {(band, 10): image for band, image in bands}, scl=scl)
    images = dict(zip(('SR_B4', 'SR_B3', 'SR_B2', 'SR_B5'), samples, strict=True))
    images['QA_PIXEL'] = np.full((1, 64, 64), 21824, np.uint16)
    write_landsat(folder / 'landsat', images)
    with tarfile.open(folder / f'{LANDSAT_L2}.tar', 'w') as archive:
        for path in (folder / 'landsat').iterdir():
            archive.add(path, path.name)
    for band, image in zip(BANDS, samples, strict=True):
        write_raster(folder / f'bands/a_{band}.tif', image, georeference=_place(200))


def _write_catalogue(folder: Path) -> None:
    """Write items of the scene in `bands`, one clear and one cloudy."""
    assets = {
        band: {'href': f'./bands/a_{band}.tif', 'roles': ['data'], 'bands': [{'name': band}]}
        for band in BANDS
    }
    items = [
        {
            'type': 'Feature', 'stac_version': '1.1.0', 'id': name, 'geometry': None, 'links': [],
            'properties': {'datetime': '2023-06-15T10:36:29Z', 'eo:cloud_cover': cloud},
            'assets': assets,
        }
        for name, cloud in (('clear', 5), ('cloudy', 60))
    ]  # fmt: skip
    collection = {'type': 'FeatureCollection', 'features': items}
    (folder / 'items.json').write_text(json.dumps(collection))


def _write_districts(path: Path) -> None:
    """Write two polygons, each over half of the scenes."""
    half = 1000 * SCENES // 2
    features = []
    for number in range(2):
        west, east = number * half, (number + 1) * half
        corners = [(west, -10), (east, -10), (east, SCENE + 10), (west, SCENE + 10), (west, -10)]
        ring = [list(point) for point in _place(100).to_lonlat(corners)]
        features.append(
            {
                'type': 'Feature',
                'properties': {'district': f'District {number + 1}'},
                'geometry': {'type': 'Polygon', 'coordinates': [ring]},
            }
        )
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))


def _write_five_billion_pixels(root: Path, release: Path, rng: np.random.Generator) -> None:
    for path in (release / 'image_NirRGB').glob('*.tif'):
        write_raster(root / f'Image__8bit_NirRGB/{path.name}', read_raster(path))
        label = rng.integers(0, len(fbp.CLASSES) + 1, (64, 64)).astype(np.uint8)
        write_raster(root / f'Annotation__index/{path.stem}_24label.png', label)


def _write_checkpoint(config: Path, path: Path) -> None:
    """Write a checkpoint with the weights that a network starts from."""
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(str(config)).model)
    meta = dict(classes=gid5.CLASSES, palette=gid5.PALETTE, bands=gid5.BANDS)
    content = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta))
    save_checkpoint(content, str(path))


if __name__ == '__main__':
    make_sandbox(Path(sys.argv[1]))

"""Thumbnails of tiles."""

import base64
import io

import numpy as np
from PIL import Image

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets import LabelEncoding
from dnas_mmseg.datasets.checks import Expectation
from dnas_mmseg.raster import write_raster
from dnas_mmseg.visualization.pictures import (
    colour_text,
    data_uri,
    image_thumbnail,
    label_thumbnail,
)

CLASSES = ClassScheme(('land', 'water'), ((10, 200, 30), (0, 0, 255)))
EXPECTED = Expectation(
    ('red', 'green', 'blue', 'nir'), None, LabelEncoding('index', 2), ('nir', 'red', 'green')
)


def decoded(uri):
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(',')[1]))).convert('RGB'))


def test_pictures_are_encoded(rng):
    picture = rng.integers(0, 255, (5, 7, 3)).astype(np.uint8)
    uri = data_uri(picture, lossless=True)
    assert uri.startswith('data:image/png;base64,')
    np.testing.assert_array_equal(decoded(uri), picture)
    assert data_uri(picture).startswith('data:image/jpeg;base64,')
    assert colour_text((0, 16, 255)) == '#0010ff'


def test_images_show_the_selected_bands_and_gaps(tmp_path, rng):
    image = rng.integers(1, 4000, (4, 40, 80)).astype(np.uint16)
    image[:, :20] = 0
    image[3, 20:] = np.linspace(100, 4000, 80)
    write_raster(tmp_path / 'a.tif', image, names=EXPECTED.bands, nodata=0)
    picture = image_thumbnail(str(tmp_path / 'a.tif'), EXPECTED, 40)
    assert picture.shape == (20, 40, 3)
    assert (picture[:10] == 255).all()
    assert np.all(np.diff(picture[15, :, 0].astype(int)) >= 0)  # nir is displayed as red
    assert picture[15, 0, 0] == 0
    assert picture[15, -1, 0] == 255


def test_labels_have_the_colours_of_the_classes(tmp_path):
    label = np.zeros((6, 6), np.uint8)
    label[:, 2:4], label[:, 4:] = 1, 2
    write_raster(tmp_path / 'a.png', label)
    picture = label_thumbnail(str(tmp_path / 'a.png'), EXPECTED, CLASSES, 3)
    assert picture.shape == (3, 3, 3)
    assert picture[0].tolist() == [[0, 0, 0], [10, 200, 30], [0, 0, 255]]

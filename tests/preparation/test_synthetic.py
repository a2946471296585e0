"""Synthetic scenes."""

import numpy as np

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.datasets.releases import find_release
from dnas_mmseg.preparation.scenes import find_scenes
from dnas_mmseg.preparation.synthetic import make_scene, write_scenes
from dnas_mmseg.raster import Raster, read_raster


def test_landscape_has_all_classes_and_is_seeded():
    samples, ids = make_scene(300, seed=1)
    assert (samples.shape, samples.dtype) == ((4, 300, 300), np.uint8)
    shares = np.bincount(ids.ravel(), minlength=256)[[0, 1, 2, 3, 4, 255]] / ids.size
    assert shares.sum() == 1
    assert shares.min() > 0.01
    again, other = make_scene(300, seed=1), make_scene(300, seed=2)
    assert all(map(np.array_equal, (samples, ids), again))
    assert not np.array_equal(samples, other[0])
    # Only water is dark in the near infrared.
    assert samples[0, ids == 4].mean() < 60 < 90 < samples[0, ids == 3].mean()


def test_scenes_have_the_layout_of_the_release(tmp_path):
    write_scenes(tmp_path, count=2, size=64, seed=5)
    release = find_release(tmp_path)
    found = find_scenes(tmp_path, release.images, release.labels)
    assert len(found) == 2
    encoding = LabelEncoding(release.label_convention, len(CLASSES), PALETTE)
    places = []
    for i, scene in enumerate(found):
        samples, ids = make_scene(64, seed=5 + i)
        np.testing.assert_array_equal(read_raster(scene.image), samples)
        np.testing.assert_array_equal(encoding.encode(read_raster(scene.label)), ids)
        with Raster(scene.image) as image, Raster(scene.label) as label:
            assert image.info.georeference == label.info.georeference
            places.append(image.info.georeference)
    assert places[0].moved(0, 64) == places[1]  # side by side

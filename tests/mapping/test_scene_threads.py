"""Small scenes in threads that share the model."""

import threading
import time

import numpy as np
import pytest

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import Tiling, predict_scene
from dnas_mmseg.mapping.scenes import SceneError, predict_scenes
from dnas_mmseg.raster import write_raster

TILING = Tiling(32, 8, batch=2)


class Model:
    """Model that depends on the position in the batch, and records its threads."""

    num_bands, threshold, normalisation = 2, None, None

    def __init__(self):
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE)
        self.threads, self.windows = set(), 0

    def logits(self, images):
        self.threads.add(threading.current_thread())
        self.windows += len(images)
        values = np.stack([image.numpy().astype(np.float32).mean(0) / 50 for image in images])
        values += np.arange(len(images), dtype=np.float32)[:, None, None]
        return np.stack([np.sin((k + 1) * values) for k in range(len(CLASSES))], 1)


def write_scenes(folder, rng, *sizes):
    paths = [folder / f's{i}.tif' for i in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        write_raster(path, rng.integers(0, 255, (2, *size)).astype(np.uint8))
    return paths


def test_maps_equal_those_of_single_scenes_to_the_byte(tmp_path, rng):
    paths = write_scenes(tmp_path, rng, *[(50, 40 + i) for i in range(12)], (300, 100), (20, 30))
    model, steps = Model(), []
    products = MapProducts(confidence=True, quick_look=True)
    notes = predict_scenes(
        model, paths, tmp_path / 'many', tiling=TILING, products=products,
        track=lambda label: lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert model.threads == {threading.current_thread()}
    assert steps[-1] == (model.windows, model.windows)
    assert [path.name for path in notes] == [path.name for path in paths]
    for path in paths:
        predict_scene(
            Model(), path, tmp_path / 'one' / path.name, tiling=TILING,
            products=MapProducts(confidence=True),
        )  # fmt: skip
        for folder in ('.', 'confidence'):
            expected = (tmp_path / 'one' / folder / path.name).read_bytes()
            assert (tmp_path / 'many' / folder / path.name).read_bytes() == expected
    assert len(list((tmp_path / 'many/quick_look').iterdir())) == len(paths)


class OnGpu(Model):
    """Model as on a GPU, whose windows do not depend on each other."""

    is_on_gpu = True

    def __init__(self):
        super().__init__()
        self.batches = []

    def logits(self, images):
        time.sleep(0.02)  # meanwhile other scenes are read
        self.batches.append(len(images))
        assert len({image.shape for image in images}) == 1
        return np.concatenate([super(OnGpu, self).logits([image]) for image in images])


def test_windows_of_small_scenes_share_a_batch_on_a_gpu(tmp_path, rng):
    paths = write_scenes(tmp_path, rng, *[(32, 30 + i % 3) for i in range(24)])
    model, alone = OnGpu(), OnGpu()
    tiling = Tiling(32, 8, batch=4)
    predict_scenes(model, paths, tmp_path / 'many', tiling=tiling)
    assert sum(model.batches) == 24
    assert 1 < max(model.batches) <= 4
    for path in paths:
        predict_scene(alone, path, tmp_path / 'one' / path.name, tiling=tiling)
        expected = (tmp_path / 'one' / path.name).read_bytes()
        assert (tmp_path / 'many' / path.name).read_bytes() == expected
    assert max(alone.batches) == 1


def test_a_damaged_scene_does_not_stop_the_others(tmp_path, rng):
    paths = write_scenes(tmp_path, rng, *[(50, 40)] * 6)
    paths[2].write_bytes(paths[2].read_bytes()[:2000])
    with pytest.raises(SceneError, match=r's2\.tif.*truncated') as error:
        predict_scenes(Model(), paths, tmp_path / 'out', tiling=TILING)
    assert [path.stem for path in error.value.notes] == ['s0', 's1', 's3', 's4', 's5']


@pytest.mark.parametrize('base', [Model, OnGpu])
@pytest.mark.parametrize('sizes', [[(50, 40), (50, 23), (50, 40)], [(150, 140), (150, 23)]])
def test_a_scene_that_the_network_does_not_support_does_not_stop_the_others(
    tmp_path, rng, base, sizes
):
    """Of small scenes, and of one after a large one."""

    class Picky(base):
        def logits(self, images):
            if images[0].shape[2] == 23:
                raise RuntimeError("Kernel size can't be greater than input\nat line 3")
            return super().logits(images)

    paths = write_scenes(tmp_path, rng, *sizes)
    with pytest.raises(SceneError) as error:
        predict_scenes(Picky(), paths, tmp_path / 'out', tiling=TILING)
    message = str(error.value)
    assert (
        "s1.tif: the network fails on windows of 32 x 23 pixels (RuntimeError: Kernel size can't"
        in message
    )
    assert 'at line 3' not in message
    assert [path.stem for path in error.value.notes] == [p.stem for p in paths if p.stem != 's1']


@pytest.mark.parametrize('is_on_gpu', [False, True])
@pytest.mark.parametrize('kind', [RuntimeError, KeyboardInterrupt])
def test_errors_of_the_model_stop_the_call_and_leave_no_thread(tmp_path, rng, kind, is_on_gpu):
    class Failing(OnGpu if is_on_gpu else Model):
        def logits(self, images):
            if self.windows > 6:
                raise kind('out of memory')
            return super().logits(images)

    before = threading.active_count()
    paths = write_scenes(tmp_path, rng, *[(50, 40)] * 12)
    with pytest.raises(kind, match='out of memory'):
        predict_scenes(Failing(), paths, tmp_path / 'out', tiling=TILING)
    assert threading.active_count() == before
    # No temporary file, and no map of a scene that was not predicted.
    assert all(path.name.startswith('s') for path in (tmp_path / 'out').iterdir())
    assert len(list((tmp_path / 'out').glob('*.tif'))) < 6

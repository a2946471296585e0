"""Blending of windows: the classes, and memory use on wide scenes."""

import tracemalloc

import numpy as np

from dnas_mmseg.mapping.blending import WindowBlender
from dnas_mmseg.raster import Window

CLASSES, WIDTH, SIDE, OVERLAP = 24, 100_000, 64, 16


def test_memory_does_not_grow_with_the_width_of_invalid_areas():
    step = SIDE - OVERLAP
    height = step + SIDE
    windows = [
        Window(column, row, SIDE, SIDE)
        for row in (0, step)
        for column in range(0, WIDTH - SIDE + 1, step)
    ]
    valid = [w for w in windows if w.col_off in (0, step * (WIDTH // 2 // step))]
    logits = np.zeros((CLASSES, SIDE, SIDE), np.float32)
    logits[5] = 1
    covered = 0
    tracemalloc.start()
    try:
        blender = WindowBlender(CLASSES, height, WIDTH, windows, OVERLAP, None)
        before = tracemalloc.get_traced_memory()[0]
        for part in (p for window in valid for p in blender.add(window, logits, None)):
            covered += int((~part.missing).sum())
            assert set(part.classes[~part.missing].tolist()) == {5}
        for part in blender.finish():
            covered += int((~part.missing).sum())
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # A strip of all classes over the whole width would take 614 MB.
    assert peak < 60e6
    # Weights are 0 in the outermost quarters of overlaps, except at the borders of the scene.
    margin = OVERLAP // 4
    assert covered == height * (SIDE - margin + SIDE - 2 * margin)


def test_the_first_of_equally_probable_classes_wins(rng):
    logits = rng.integers(0, 4, (7, 16, 24)).astype(np.float32)
    window = Window(0, 0, 24, 16)
    blender = WindowBlender(7, 16, 24, [window], 0, None)
    parts = [*blender.add(window, logits, None), *blender.finish()]
    assert len(parts) == 1
    np.testing.assert_array_equal(parts[0].classes, logits.argmax(0))
    assert parts[0].classes.dtype == np.uint8

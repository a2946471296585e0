import numpy as np
from PIL import Image

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.visualization import (
    ExampleRow,
    save_comparison,
)


def test_a_comparison_is_saved_as_an_image(tmp_path, rng):
    ids = rng.integers(0, 5, (20, 20)).astype(np.uint8)
    row = ExampleRow(rng.integers(0, 255, (20, 20, 4)).astype(np.uint8), ids, ids)
    facts = dict(bands=(), classes=ClassScheme(CLASSES, PALETTE))
    save_comparison(tmp_path / 'one.png', [row], **facts)
    save_comparison(tmp_path / 'three.png', [row] * 3, **facts, title='three')
    one, three = (np.array(Image.open(tmp_path / f'{n}.png')) for n in ('one', 'three'))
    assert three.shape[0] > 2 * one.shape[0]
    for colour in PALETTE:
        assert (one[..., :3] == colour).all(-1).any()

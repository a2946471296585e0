import numpy as np
from PIL import Image

from dnas_mmseg.datasets import GID5Dataset
from dnas_mmseg.visualization import draw_samples


def test_samples_display_the_selected_bands(data_root, tmp_path):
    """Band names follow the order of the pipeline."""
    pictures = {}
    for name, bands in (
        ('kept', ('nir', 'red', 'green', 'blue')),
        ('turned', ('blue', 'green', 'red', 'nir')),
    ):
        pipeline = [
            dict(type='LoadRasterFromFile'),
            dict(type='LoadRasterAnnotations'),
            dict(type='SelectBands', bands=bands),
            dict(type='PackSegInputs'),
        ]
        dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt', pipeline=pipeline)
        (path,) = draw_samples(dataset, 1).save(tmp_path / name)
        pictures[name] = np.array(Image.open(path))
    np.testing.assert_array_equal(pictures['kept'], pictures['turned'])

"""Metainfo of data sets, read from configs."""

from mmseg.datasets import CityscapesDataset

from dnas_mmseg.datasets.configs import configured_metainfo
from dnas_mmseg.datasets.description import DatasetDescription


def test_selected_classes_keep_their_colours(data_root):
    described = DatasetDescription.load(data_root).metainfo
    dataset = dict(type='MultiBandSegDataset', data_root=str(data_root))
    assert configured_metainfo(dataset) == described
    picked = described['classes'][2], described['classes'][0]
    found = configured_metainfo({**dataset, 'metainfo': dict(classes=picked)})
    assert found['palette'] == (described['palette'][2], described['palette'][0])
    assert found['bands'] == described['bands']
    others = configured_metainfo({**dataset, 'metainfo': dict(classes=('snow', 'ice'))})
    assert 'palette' not in others


def test_descriptions_are_of_multi_band_datasets_alone(data_root):
    """A stock data set of mmseg does not read ``dataset.json``."""
    stock = dict(type='CityscapesDataset', data_root=str(data_root), metainfo=None)
    assert configured_metainfo(stock) == CityscapesDataset.METAINFO

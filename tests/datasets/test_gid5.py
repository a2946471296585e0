import json

import pytest

from dnas_mmseg.datasets import DatasetError, GID5Dataset, MultiBandSegDataset


def test_gid5_rejects_other_classes(data_root):
    content = json.loads((data_root / 'dataset.json').read_text())
    content['classes'] = ['a', 'b', 'c', 'd', 'e']
    (data_root / 'dataset.json').write_text(json.dumps(content))
    with pytest.raises(
        DatasetError, match='has the classes a, b, c, d, e; GID5Dataset has built-up'
    ):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt')
    assert MultiBandSegDataset(data_root=str(data_root), ann_file='train.txt').metainfo[
        'classes'
    ] == ('a', 'b', 'c', 'd', 'e')
    (data_root / 'dataset.json').write_text('{"bands": ["nir",')
    with pytest.raises(DatasetError, match=r'dataset\.json is not complete JSON'):
        MultiBandSegDataset(data_root=str(data_root), ann_file='train.txt')

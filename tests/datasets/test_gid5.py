import json

import pytest

from dnas_mmseg.datasets import DatasetError, GID5Dataset, MultiBandSegDataset
from dnas_mmseg.datasets.gid5 import find_release


def test_gid5_refuses_a_root_of_other_classes(data_root):
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


@pytest.mark.parametrize(
    ('bits', 'folders', 'convention', 'first'),
    [
        (8, ('image_NirRGB', 'label_5classes'), 'rgb', 'nir'),
        (8, ('Image__8bit_NirRGB', 'Annotation__index'), 'index', 'nir'),
        (16, ('Image_16bit_BGRNir', 'GID5/Annotation__index'), 'index', 'blue'),
    ],
)
def test_a_release_is_known_by_its_folders(tmp_path, bits, folders, convention, first):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    release = find_release(tmp_path, bits)
    assert release.images == f'{folders[0]}/*'
    assert release.labels.startswith(f'{folders[1]}/{{name}}_')
    assert (release.label_convention, release.bands[0]) == (convention, first)
    with pytest.raises(DatasetError, match=f'no {24 - bits}-bit release of GID-5 is there'):
        find_release(tmp_path, 24 - bits)

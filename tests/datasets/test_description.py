"""What a folder of tiles says of itself."""

import json

import pytest

from dnas_mmseg.datasets import DatasetDescription, DatasetError


def test_what_is_saved_is_loaded_and_what_is_left_out_is_not_written(tmp_path):
    description = DatasetDescription(
        bands=('red', 'nir'), classes=('a',), palette=((1, 2, 3),), mean=(1.5, 2.0), std=(1.0, 2.0),
        provenance={'source': 'x'},
    )  # fmt: skip
    description.save(tmp_path)
    assert DatasetDescription.load(tmp_path) == description
    written = json.loads((tmp_path / 'dataset.json').read_text())
    assert set(written) == {'bands', 'classes', 'palette', 'mean', 'std', 'provenance'}
    assert description.metainfo == dict(bands=('red', 'nir'), classes=('a',), palette=((1, 2, 3),))
    assert DatasetDescription(classes=('a',)).metainfo == dict(classes=('a',))


def test_a_folder_without_one_says_nothing(tmp_path):
    assert (
        DatasetDescription.load(tmp_path) == DatasetDescription.load(None) == (DatasetDescription())
    )
    with pytest.raises(DatasetError, match=r'facts\.json: no such file'):
        DatasetDescription.load_file(tmp_path / 'facts.json')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"classes": ["a"', 'is not complete JSON'),
        ('{"clases": ["a"]}', r"unknown content \['clases'\]; known keys are"),
        ('["a"]', 'unknown content no object'),
    ],
)
def test_what_is_no_description_is_named(tmp_path, content, message):
    (tmp_path / 'dataset.json').write_text(content)
    with pytest.raises(DatasetError, match=rf'dataset\.json.* {message}'):
        DatasetDescription.load(tmp_path)

"""``dataset.json``."""

import json

import pytest

from dnas_mmseg.datasets import DatasetDescription, DatasetError


def test_round_trip_omits_empty_fields(tmp_path):
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


def test_missing_file_is_an_empty_description(tmp_path):
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
def test_invalid_description_names_the_file(tmp_path, content, message):
    (tmp_path / 'dataset.json').write_text(content)
    with pytest.raises(DatasetError, match=rf'dataset\.json.* {message}'):
        DatasetDescription.load(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'classes': 'roof'}, 'classes = "roof": expected a list of names'),
        ({'classes': ['a', 1]}, r'classes = \["a", 1\]: expected a list of names'),
        ({'classes': ['a', 'b', 'a']}, "classes: 'a' occurs twice"),
        ({'bands': 'red'}, 'bands = "red": expected a list of names'),
        ({'bands': ['red', 'red']}, "bands: 'red' occurs twice"),
        ({'classes': ['a', 'b'], 'palette': [[1, 2, 3]]}, 'palette has 1 colours for 2 classes'),
        ({'label_values': [0, 1]}, r'label_values = \[0, 1\]: expected an object'),
        (
            {'label_values': {'0': 'a', '1': 'b', '2': None}, 'palette': [[1, 2, 3]]},
            'palette has 1 colours for 2 classes',
        ),
        ({'palette': ['#ff0000']}, r'palette has the colour "#ff0000": expected .*\[red, green'),
        ({'palette': '#ff0000'}, 'palette has the colour "#ff0000"'),
        ({'palette': [[0, 0, 300]]}, r'palette has the colour \[0, 0, 300\]: .* from 0 to 255'),
        ({'palette': [[0, 0.5, 0]]}, r'palette has the colour \[0, 0\.5, 0\]'),
        ({'palette': [[0, 0]]}, r'palette has the colour \[0, 0\]'),
    ],
)
def test_invalid_values_name_the_file_and_the_key(tmp_path, content, message):
    (tmp_path / 'dataset.json').write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=rf'dataset\.json: {message}'):
        DatasetDescription.load(tmp_path)

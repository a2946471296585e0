"""Metadata of models, and model cards."""

import json
from dataclasses import replace

import pytest
import torch

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.mapping.model_card import (
    collect_model_metadata,
    complete_metadata,
    write_model_card,
)
from dnas_mmseg.mapping.pretrained import get_pretrained_model
from dnas_mmseg.mapping.segmentor import load_segmentor


@pytest.fixture
def collect(small, tmp_path):
    """Return a function that collects the metadata of a model with other metadata of its data."""

    def collect(**meta):
        checkpoint = torch.load(small[1], weights_only=True)
        checkpoint['meta']['dataset_meta'].update(meta)
        torch.save(checkpoint, tmp_path / 'other.pth')
        config = load_config(small[0], work_dir=tmp_path)
        model = load_segmentor(config, tmp_path / 'other.pth', 'cpu')
        return collect_model_metadata(model, config, 'm', 32, {'mIoU|x': 50.0}, 'not stated')

    return collect


def cells(line):
    """Return the cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.replace(r'\|', '\0').strip('|').split('|')]


def test_vertical_bars_in_names_do_not_divide_cells(collect, tmp_path):
    metadata = replace(
        collect(classes=('built|up', 'a', 'b', 'c', 'd')), bands=('b|1', 'b2', 'b3', 'b4')
    )
    write_model_card(tmp_path / 'm.md', metadata, [])
    lines = (tmp_path / 'm.md').read_text().splitlines()
    rows = [cells(line) for line in lines if r'\|' in line]
    assert [row[:2] for row in rows] == [['1', 'b\0001'], ['0', 'built\0up'], ['mIoU\0x', '50.00']]
    assert [len(row) for row in rows] == [4, 3, 2]


def test_samples_to_be_scaled_are_stated(collect, tmp_path):
    for meta, expected in (
        ({}, 'Samples as they are stored, pixels'),
        ({'apply_scale': True}, 'Samples stored with a scale and offset, which must be applied, p'),
    ):
        write_model_card(tmp_path / 'm.md', collect(**meta), [])
        assert expected in (tmp_path / 'm.md').read_text()
    stac = pytest.importorskip('dnas_mmseg.mapping.stac')
    pytest.importorskip('pystac', reason="pystac is not installed: extra 'stac'")
    (tmp_path / 'm.onnx').write_bytes(b'a graph')
    stac.write_model_item(tmp_path / 'm.json', tmp_path / 'm.onnx', collect(apply_scale=True))
    (found,) = json.loads((tmp_path / 'm.json').read_text())['properties']['mlm:input']
    assert 'which must be applied; the model normalises them' in found['description']


def test_unknown_metadata_are_completed(collect):
    known = get_pretrained_model('naip_small').metadata
    metadata = collect()
    completed = complete_metadata(metadata, known)
    assert (completed.metres, completed.dtype) == (0.6, 'uint8')
    assert (completed.licence, completed.data) == (known.licence, known.data)
    assert (completed.window, completed.scores) == (32, metadata.scores)

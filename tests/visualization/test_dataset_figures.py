"""Figures of a data set."""

import numpy as np
import pytest

from dnas_mmseg.visualization.dataset_figures import (
    class_shares_figure,
    footprint_figure,
    histogram_figure,
)
from dnas_mmseg.visualization.html_page import render_svg


def test_histograms_share_an_axis():
    counts = {'train': np.zeros(256), 'val': np.zeros(256)}
    counts['train'][[0, 1, 255]] = 1, 2, 1
    figure = histogram_figure(np.arange(257.0), counts)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 256)
    train, val = (patch.get_data() for patch in axes.patches)
    assert len(train.values) == 64
    assert train.values[[0, 63]].tolist() == [75, 25]
    assert val.values.sum() == 0


def test_class_shares_are_bars_by_split():
    shares = {'train': np.array([0.9, 0.1]), 'val': np.array([0.5, 0.5])}
    (axes,) = class_shares_figure(('land', 'w$ater'), shares).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([90, 10, 50, 50])
    assert [text.get_text() for text in axes.get_yticklabels()] == ['land', r'w\$ater']


def tiles_at(x, y, side):
    return np.array([[[x, y], [x + side, y], [x + side, y + side], [x, y + side]]], float)


def test_small_footprints_have_markers():
    near = footprint_figure({'train': tiles_at(10, 50, 1), 'val': tiles_at(11, 50, 1)})
    far = footprint_figure({'train': tiles_at(10, 50, 1), 'test': tiles_at(10, 10, 0.1)})
    points = [sum(len(line.get_xdata()) for line in figure.axes[0].lines) for figure in (near, far)]
    assert points == [0, 0]
    far = footprint_figure({'train': tiles_at(10, 50, 0.1), 'test': tiles_at(10, 10, 0.1)})
    assert sum(len(line.get_xdata()) for line in far.axes[0].lines) == 2


def test_many_footprints_become_pixels():
    many = np.concatenate([tiles_at(i % 40, i // 40, 1) for i in range(1200)])
    text = render_svg(footprint_figure({'train': many}))
    assert 'data:image/png;base64' in text
    assert 'train (1,200)' in text
    assert len(text) < 300_000

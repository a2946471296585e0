import numpy as np
import pytest
from matplotlib.collections import LineCollection

from dnas_mmseg.search.figures import (
    course_figure,
    graph_figure,
    operations_figure,
    shares_figure,
)
from dnas_mmseg.spaces.dnas.supernets import (
    DNASCellSupernet,
    DNASConnectionSupernet,
    DNASPathSupernet,
)

from .conftest import L4, searched


@pytest.fixture
def path():
    return searched(DNASPathSupernet(layers=4, base_channels=2))


@pytest.fixture
def cell():
    return searched(DNASCellSupernet('dnas_l12_gid5@connection', base_channels=2))


def lines(figure):
    """Line widths of the candidate edges and of the decoded ones."""
    collections = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    return [list(collection.get_linewidths()) for collection in collections]


@pytest.mark.parametrize('stage', ['path', 'connection'])
def test_line_width_is_the_probability(path, stage):
    history = path
    if stage == 'connection':
        history = searched(DNASConnectionSupernet(L4, base_channels=2))
    epoch = history.epochs[-1]
    probabilities = sorted(p for ps in epoch.probabilities for p in ps)
    open_, decoded = lines(graph_figure(history))
    assert len(decoded) == len(epoch.architecture.graph)
    widths = [(width - 0.3) / 3 for width in open_] + [(width - 0.6) / 3 for width in decoded]
    open_widths = [width for width in widths if width < 1 - 1e-9]  # core edges are certain
    expected = [p for p in probabilities if p < 1 - 1e-9]
    np.testing.assert_allclose(sorted(open_widths), expected, atol=1e-6)


def test_figures_of_undecided_kinds_are_none(path, cell):
    assert graph_figure(cell) is None
    assert operations_figure(path) is shares_figure(path) is None


def test_operations_figure(cell):
    epoch = cell.epochs[-1]
    axes = operations_figure(cell).axes[0]
    (image,) = axes.images
    shown = np.asarray(image.get_array())
    np.testing.assert_allclose(shown.T, epoch.probabilities)
    marked = {(int(line.get_xdata()[0]), int(line.get_ydata()[0])) for line in axes.lines}
    best = {(x, y) for x, ps in enumerate(epoch.probabilities) for y in np.argsort(ps)[-3:]}
    assert marked == best


def test_course_figure(cell):
    entropy, loss, changes = course_figure(cell).axes
    (line,) = [line for line in entropy.lines if line.get_label() == 'operation']
    expected = [cell.entropies(i)['operation'] for i in range(3)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [np.nan, 0.5, 0.5])
    counts = []
    for before, after in zip(cell.epochs, cell.epochs[1:], strict=False):
        a, b = before.architecture.selected_operations, after.architecture.selected_operations
        counts.append(sum(len(set(a[node]) ^ set(b[node])) for node in a))
    assert [bar.get_height() for bar in changes.patches] == counts
    assert min(counts) > 0


def test_shares_sum_to_one(cell):
    curves = [line.get_ydata() for line in shares_figure(cell).axes[0].lines]
    assert len(curves) == 10
    np.testing.assert_allclose(np.sum(curves, 0), [1, 1, 1])

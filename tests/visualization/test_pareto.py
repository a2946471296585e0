"""Pareto fronts."""

from matplotlib.figure import Figure

from dnas_mmseg.visualization.pareto import ParetoPoint, pareto_front, plot_pareto


def test_the_front_holds_what_nothing_dominates():
    points = [(3, 75.0), (1, 70.0), (2, 69.0), (2, 72.0), (4, 75.0)]
    assert pareto_front(points) == [(1, 70.0), (2, 72.0), (3, 75.0)]
    assert pareto_front(points, maximize=False) == [(1, 70.0), (2, 69.0)]
    assert pareto_front([]) == []


def test_points_have_tooltips_groups_and_a_front():
    axes = Figure().add_subplot()
    points = [
        ParetoPoint('a', 1, 70.123, 'random'),
        ParetoPoint('b', 20, 75, 'random'),
        ParetoPoint('c', 5, 60, 'baseline', label=False),
    ]
    tips = plot_pareto(axes, points, ('latency, ms', 'mIoU, %'), prefix='x')
    assert tips == {
        'xpoint0': 'a: 70.12 % at 1 ms',
        'xpoint1': 'c: 60 % at 5 ms',
        'xpoint2': 'b: 75 % at 20 ms',
    }
    assert axes.get_xscale() == 'log'
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['random', 'baseline']
    assert [text.get_text() for text in axes.texts] == ['a', 'b']
    step = axes.lines[0]
    assert list(zip(*step.get_data(), strict=True)) == [(1, 70.123), (20, 75)]

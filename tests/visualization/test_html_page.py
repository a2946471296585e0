"""Self-contained HTML pages."""

from matplotlib.figure import Figure

from dnas_mmseg.visualization.html_page import html_figure, html_page, html_svg, html_table


def test_text_is_escaped():
    table = html_table(['a & b', 'n'], [['<b>', 3], ['"x"', '–']])
    assert table == (
        '<div class="scroll"><table><thead><tr><th>a &amp; b</th><th class=number>n</th></tr>'
        '</thead><tbody><tr><td>&lt;b&gt;</td><td class=number>3</td></tr>'
        '<tr><td>&quot;x&quot;</td><td class=number>–</td></tr></tbody></table></div>'
    )
    page = html_page('L=12 < L=14', table)
    assert '<title>L=12 &lt; L=14</title>' in page
    assert '<h1>L=12 &lt; L=14</h1>' in page
    assert table in page
    assert 'name="viewport"' in page


def test_the_page_of_a_running_job_reloads():
    assert '<body data-reload=30>' in html_page('a', '', running=True)
    assert 'reloads every 30 s' in html_page('a', '', running=True)
    assert 'reloads itself every' not in html_page('a', '')


def test_artists_have_tooltips():
    figure = Figure(figsize=(2, 2))
    (line,) = figure.add_subplot().plot([0, 1], [0, 1])
    line.set_gid('mine')
    text = html_figure(figure, 'a < b', {'mine': 'x & y'})
    assert '<figcaption>a &lt; b</figcaption>' in text
    assert '<g class="tip" tabindex="0"><title>x &amp; y</title>' in text


def test_svg_is_reproducible():
    def picture(height):
        figure = Figure(figsize=(2, 2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, height])
        axes.set_title('a title')
        return html_svg(figure)

    first = picture(1)
    assert first.startswith('<svg')
    assert first.rstrip().endswith('</svg>')
    assert 'a title' in first  # text, not outlines
    assert picture(1) == first != picture(2)

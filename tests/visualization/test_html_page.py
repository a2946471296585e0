"""Self-contained HTML pages."""

from matplotlib.figure import Figure

from dnas_mmseg.visualization.html_page import (
    Alert,
    Card,
    Code,
    Columns,
    Details,
    Gallery,
    Graphic,
    Heading,
    Legend,
    Summary,
    Table,
    render_page,
    render_svg,
)


def test_text_is_escaped():
    table = Table(['a & b', 'n'], [['<b>', 3], ['"x"', '–']])
    page = render_page('L=12 < L=14', [Heading('a < b'), table, Alert('x > y')])
    assert '<th>a &amp; b</th><th class=number>n</th>' in page
    assert '<td>&lt;b&gt;</td><td class=number>3</td>' in page
    assert '<td>&#34;x&#34;</td><td class=number>–</td>' in page
    assert '<title>L=12 &lt; L=14</title>' in page
    assert '<h1>L=12 &lt; L=14</h1>' in page
    assert '<h2>a &lt; b</h2>' in page
    assert '<p class="warning">x &gt; y</p>' in page
    assert 'name="viewport"' in page


def test_commands_and_details():
    page = render_page('a', [Summary(['Done.'], ['dnas x --out "b"']), Details('more', [])])
    assert '<div class="verdict"><p>Done.</p></div>' in page
    assert '<pre>dnas x --out &#34;b&#34;</pre><button type="button">copy</button>' in page
    assert '<details><summary>more</summary>' in page


def test_galleries_legends_and_columns():
    card = Card([('label', 'data:image/png;base64,AA==')], 'a&b.tif', 'x < y')
    elements = [Gallery([card]), Legend([('<w>', '#0000ff')]), Columns([Code('a < b')])]
    page = render_page('a', elements)
    assert '<img alt="label" title="label" src="data:image/png;base64,AA==">' in page
    assert '<figcaption>a&amp;b.tif<br><span class="quiet">x &lt; y</span></figcaption>' in page
    assert '<i style="background:#0000ff"></i>&lt;w&gt;</span>' in page
    assert page.index('<div class="columns">') < page.index('<pre>a &lt; b</pre>')


def test_the_page_of_a_running_job_reloads():
    assert '<body data-reload=30>' in render_page('a', [], running=True)
    assert 'reloads every 30 s' in render_page('a', [], running=True)
    assert 'reloads every' not in render_page('a', [])


def test_artists_have_tooltips():
    figure = Figure(figsize=(2, 2))
    (line,) = figure.add_subplot().plot([0, 1], [0, 1])
    line.set_gid('mine')
    text = render_page('a', [Graphic(figure, 'a < b', {'mine': 'x & y'})])
    assert '<figcaption>a &lt; b</figcaption>' in text
    assert '<g class="tip" tabindex="0"><title>x &amp; y</title>' in text


def test_svg_is_reproducible():
    def picture(height):
        figure = Figure(figsize=(2, 2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, height])
        axes.set_title('a title')
        return render_svg(figure)

    first = picture(1)
    assert first.startswith('<svg')
    assert first.rstrip().endswith('</svg>')
    assert 'a title' in first  # text, not outlines
    assert picture(1) == first != picture(2)

"""Pages that need no other file."""

from matplotlib.figure import Figure

from dnas_mmseg.visualization.html_page import html_page, html_svg, html_table


def test_text_is_shown_as_it_stands():
    table = html_table(['a & b'], [['<b>', 3], ['"x"', None]])
    assert table == (
        '<table><tr><th>a &amp; b</th></tr><tr><td>&lt;b&gt;</td><td>3</td></tr>'
        '<tr><td>&quot;x&quot;</td><td>None</td></tr></table>'
    )
    page = html_page('L=12 < L=14', table)
    assert '<title>L=12 &lt; L=14</title>' in page
    assert '<h1>L=12 &lt; L=14</h1>' in page
    assert table in page
    assert '{' + ' font' in page  # the style's braces are single ones


def test_the_same_picture_is_the_same_text():
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

"""Building blocks of self-contained, responsive HTML pages."""

from __future__ import annotations

import html
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_PARTS = Path(__file__).with_name('page')
_METADATA = ('Creator', 'Date', 'Format', 'Type')
_NUMBER = re.compile(r'[-+]?[\d,]*\.?\d+( ?[%a-zA-Z]+)?')
_RELOAD = 30
"""Seconds between reloads of the page of a running job: fresh enough to watch trials finish."""


def html_page(title: str, body: str, running: bool = False) -> str:
    """Return a self-contained page with embedded styles and scripts.

    Args:
        title: Title and heading.
        body: Content, HTML.
        running: Whether the run still writes results; the page then reloads itself.
    """
    style, script = (
        (_PARTS / name).read_text(encoding='utf-8') for name in ('style.css', 'script.js')
    )
    written = time.strftime('%Y-%m-%d %H:%M:%S')
    state = f'; the run is in progress, this page reloads every {_RELOAD} s' if running else ''
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f'<title>{html.escape(title)}</title>\n<style>\n{style}</style></head>\n'
        f'<body{f" data-reload={_RELOAD}" if running else ""}>\n'
        f'<h1>{html.escape(title)}</h1>\n{body}\n'
        f'<p class="quiet">Written {written}{state}.</p>\n'
        f'<script>\n{script}</script>\n</body></html>\n'
    )


def html_summary(sentences: Sequence[str], commands: Sequence[str] = ()) -> str:
    """Return a summary box, the most important sentence first, and the next commands to run."""
    text = ''.join(f'<p>{html.escape(sentence)}</p>' for sentence in sentences)
    return f'<div class="verdict">{text}</div>\n' + ''.join(map(html_command, commands))


def html_command(command: str) -> str:
    """Return a shell command with a copy button."""
    return (
        f'<div class="command"><pre>{html.escape(command)}</pre>'
        '<button type="button">copy</button></div>'
    )


def html_warning(text: str) -> str:
    """Return a warning box."""
    return f'<p class="warning">{html.escape(text)}</p>'


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    sortable: bool = False,
) -> str:
    """Return a table that scrolls horizontally; numeric columns are right-aligned.

    Args:
        headings: Headings of the columns.
        rows: Cells by row.
        sortable: Whether a click on a heading sorts the rows by that column.
    """
    lines = [[str(cell) for cell in row] for row in rows]
    numeric = [
        any(line[i] for line in lines)
        and all(_NUMBER.fullmatch(line[i]) or line[i] in ('', '–') for line in lines)
        for i in range(len(headings))
    ]

    def cells(tag: str, line: Sequence[str]) -> str:
        return ''.join(
            f'<{tag}{" class=number" if number else ""}>{html.escape(cell)}</{tag}>'
            for cell, number in zip(line, numeric, strict=True)
        )

    body = ''.join(f'<tr>{cells("td", line)}</tr>' for line in lines)
    kind = ' class="sortable"' if sortable else ''
    head = f'<thead><tr>{cells("th", headings)}</tr></thead>' if any(headings) else ''
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def html_figure(figure: Figure, title: str, tips: Mapping[str, str] | None = None) -> str:
    """Return a figure with a caption and tooltips.

    Args:
        figure: Figure.
        title: Caption: the question that the figure answers.
        tips: Tooltips by the group ids of artists (``artist.set_gid``).
    """
    # Narrow windows scroll horizontally, so that labels stay readable.
    width = 72 * figure.get_size_inches()[0]
    svg = html_svg(figure).replace('<svg ', f'<svg style="min-width:min(40rem,{width:.0f}pt)" ', 1)
    for gid, text in (tips or {}).items():
        svg = svg.replace(
            f'<g id="{gid}">',
            f'<g class="tip" tabindex="0"><title>{html.escape(text)}</title>',
        )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption>'
        f'<div class="scroll">{svg}</div></figure>'
    )


def html_svg(figure: Figure) -> str:
    """Return a figure as an inline SVG element."""
    buffer = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'dnas_mmseg'}):
        # Metadata such as the date would make the output differ between runs.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(_METADATA))
    text = buffer.getvalue()
    return text[text.index('<svg') :]

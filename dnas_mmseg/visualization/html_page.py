"""Parts of self-contained HTML pages: no other file, no network, for wide and narrow windows."""

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
"""Seconds after which the page of a run that goes on reloads itself."""


def html_page(title: str, body: str, running: bool = False) -> str:
    """Return a page that needs no other file.

    Args:
        title: Title and heading.
        body: Content, HTML.
        running: Whether what it shows goes on; the page then reloads itself.
    """
    style, script = (
        (_PARTS / name).read_text(encoding='utf-8') for name in ('style.css', 'script.js')
    )
    written = time.strftime('%Y-%m-%d %H:%M:%S')
    state = f'; it goes on, and this page reloads itself every {_RELOAD} s' if running else ''
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
    """Return what was found, the most important sentence first, and the next commands to copy."""
    text = ''.join(f'<p>{html.escape(sentence)}</p>' for sentence in sentences)
    return f'<div class="verdict">{text}</div>\n' + ''.join(map(html_command, commands))


def html_command(command: str) -> str:
    """Return a command with a button that copies it."""
    return (
        f'<div class="command"><pre>{html.escape(command)}</pre>'
        '<button type="button">copy</button></div>'
    )


def html_warning(text: str) -> str:
    """Return a warning; it says what it means and what to do."""
    return f'<p class="warning">{html.escape(text)}</p>'


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    sortable: bool = False,
) -> str:
    """Return a table in a box of its own, which scrolls where the window is narrow.

    Columns of numbers are set to the right.

    Args:
        headings: Headings of the columns.
        rows: Cells by row.
        sortable: Whether a click on a heading sorts by it.
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
    """Return a figure under a title that says what it answers.

    Args:
        figure: The figure.
        title: Title.
        tips: Texts that appear over the artists with these group ids (``artist.set_gid``).
    """
    # Narrow windows scroll to the sides rather than making labels tiny.
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
    """Return a figure as an element of a page, which needs no other file then."""
    buffer = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'dnas_mmseg'}):
        # Without a date, the same picture is the same file.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(_METADATA))
    text = buffer.getvalue()
    return text[text.index('<svg') :]

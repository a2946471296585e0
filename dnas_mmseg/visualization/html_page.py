"""Parts of self-contained HTML pages."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_METADATA = ('Creator', 'Date', 'Format', 'Type')
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: #1e293b }}
h1, h2, h3 {{ line-height: 1.2 }} h2 {{ margin-top: 3rem; border-top: 2px solid #cbd5e1;
  padding-top: 1rem }}
table {{ border-collapse: collapse; font-size: 13px }} td, th {{ border-bottom: 1px solid #e2e8f0;
  padding: .2rem .7rem; text-align: left; vertical-align: top }}
svg {{ max-width: 100%; height: auto }} .alarm {{ color: #b91c1c }} summary {{ cursor: pointer }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html_page(title: str, body: str) -> str:
    """Return a page that needs no other file."""
    return _PAGE.format(title=html.escape(title), body=body)


def html_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of text."""
    head = ''.join(f'<th>{html.escape(heading)}</th>' for heading in headings)
    body = ''.join(
        '<tr>' + ''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row) + '</tr>'
        for row in rows
    )
    return f'<table><tr>{head}</tr>{body}</table>'


def html_svg(figure: Figure) -> str:
    """Return a figure as an element of a page, which needs no other file then."""
    buffer = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'dnas_mmseg'}):
        # Without a date, the same picture is the same file.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(_METADATA))
    text = buffer.getvalue()
    return text[text.index('<svg') :]

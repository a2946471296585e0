"""Self-contained HTML reports: a page is a title and a list of elements, rendered by Jinja2."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_METADATA = ('Creator', 'Date', 'Format', 'Type')
_NUMBER = re.compile(r'[-+]?[\d,]*\.?\d+( ?[%a-zA-Z]+)?')
_RELOAD = 30
"""Seconds between reloads of the report of a running job: short compared with a trial, but long
enough to read the page."""

_MIN_SCALE = 0.7
"""Smallest scale of a figure: its labels of 10 pt are 9 pixels high."""


@dataclass(frozen=True)
class Element:
    """Part of a page; ``kind`` is the name of its macro in ``page/page.html``."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Summary(Element):
    """Box with sentences, the most important one first, and the next commands to run."""

    kind = 'summary'

    sentences: Sequence[str]
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Heading(Element):
    """Heading of a section, of level 2 or 3."""

    kind = 'heading'

    text: str
    level: int = 2


@dataclass(frozen=True)
class Note(Element):
    """Paragraph in small print."""

    kind = 'note'

    text: str


@dataclass(frozen=True)
class Alert(Element):
    """Box with a warning."""

    kind = 'warning'

    text: str


@dataclass(frozen=True)
class Bar(Element):
    """Value from 0 to 1 as a bar, with a text."""

    kind = 'bar'

    value: float
    text: str


@dataclass(frozen=True)
class Table(Element):
    """Table with right-aligned numbers; in narrow windows a sortable one shows a card per row.

    Attributes:
        headings: Headings of the columns.
        rows: Cells by row.
        sortable: Whether a click on a heading sorts the rows by that column.
    """

    kind = 'table'

    headings: Sequence[str]
    rows: Iterable[Sequence[object]]
    sortable: bool = False

    @property
    def lines(self) -> list[list[str]]:
        """Cells as texts."""
        return [[str(cell) for cell in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers."""
        lines = self.lines
        return [
            any(line[i] for line in lines)
            and all(_NUMBER.fullmatch(line[i]) or line[i] in ('', '–') for line in lines)
            for i in range(len(self.headings))
        ]


@dataclass(frozen=True)
class Graphic(Element):
    """Figure with a caption and tooltips.

    Attributes:
        figure: Figure.
        title: Caption.
        tips: Tooltips by the group ids of artists (``artist.set_gid``).
    """

    kind = 'graphic'

    figure: Figure
    title: str
    tips: Mapping[str, str] = field(default_factory=dict)

    @property
    def svg(self) -> Markup:
        """The figure as an SVG element."""
        # Figures shrink to _MIN_SCALE; narrower windows scroll, so that labels stay readable.
        style = f'min-width:{_MIN_SCALE * 72 * self.figure.get_size_inches()[0]:.0f}pt'
        svg = render_svg(self.figure).replace('<svg ', f'<svg style="{style}" ', 1)
        for gid, text in self.tips.items():
            tip = f'<g class="tip" tabindex="0"><title>{escape(text)}</title>'
            svg = svg.replace(f'<g id="{gid}">', tip)
        return Markup(svg)


@dataclass(frozen=True)
class Card:
    """Pictures side by side with a caption.

    Attributes:
        pictures: Alternative texts and data URIs of the pictures.
        caption: First line, such as a path.
        text: Second line, in small print.
    """

    pictures: Sequence[tuple[str, str]]
    caption: str
    text: str = ''


@dataclass(frozen=True)
class Gallery(Element):
    """Cards in as many columns as fit."""

    kind = 'gallery'

    cards: Sequence[Card]


@dataclass(frozen=True)
class Legend(Element):
    """Names with their colours, as CSS."""

    kind = 'legend'

    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Columns(Element):
    """Elements in as many columns as fit."""

    kind = 'columns'

    elements: Sequence[Element]


@dataclass(frozen=True)
class Code(Element):
    """Text to copy, such as a part of a config."""

    kind = 'code'

    text: str


@dataclass(frozen=True)
class HeatMap(Element):
    """Table of probabilities with a slider for the epoch.

    Attributes:
        title: Heading.
        columns, rows: Headings of columns and rows.
        data: Values by epoch, names of the cells and last epoch, for ``page/script.js``.
    """

    kind = 'heat_map'

    title: str
    columns: Sequence[str]
    rows: Sequence[str]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Details(Element):
    """Elements that are collapsed under a summary line."""

    kind = 'details'

    summary: str
    elements: Sequence[Element]


def render_page(title: str, elements: Iterable[Element], running: bool = False) -> str:
    """Return a self-contained page with embedded styles and scripts.

    Args:
        title: Title and heading.
        elements: Content.
        running: Whether the run still writes results; the page then reloads itself.

    Example:
        >>> page = render_page('Scores', [Table(('model', 'mIoU'), [('a < b', 71.2)])])
        >>> '<td>a &lt; b</td>' in page
        True
    """
    environment = Environment(
        loader=PackageLoader('dnas_mmseg.visualization', 'page'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template('page.html').render(
        title=title,
        elements=list(elements),
        reload=_RELOAD if running else None,
        written=time.strftime('%Y-%m-%d %H:%M:%S'),
    )


def render_svg(figure: Figure) -> str:
    """Return a figure as an inline SVG element."""
    buffer = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'dnas_mmseg'}):
        # Metadata such as the date would make the output differ between runs.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(_METADATA))
    text = buffer.getvalue()
    return text[text.index('<svg') :]

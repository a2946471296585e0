"""Base of the architectures of every search space: a name, a level, a JSON file."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text

if TYPE_CHECKING:
    from typing_extensions import Self

Point = tuple[int, ...]
"""A place in a network: (layer, scale), or as a space counts its parts."""

Edge = tuple[Point, Point]
"""Source and target."""

LEVELS = ('path', 'connection', 'cell')
FORMAT = 1


class ArchitectureError(UserError):
    """An architecture that is invalid, or not of the kind that is needed."""


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """A network of a search space as a value: immutable, comparable, free of torch.

    Attributes:
        space: Name of the search space, ``'dnas'`` for instance.
        name: Name of this network.
        level: Last level that is decided: ``'path'``, ``'connection'``, or ``'cell'``, which is
            everything.
        provenance: Origin of the architecture, free text by key; not part of equality.
        axes: Names in pictures of the first numbers of nodes, and of the places of operations.
    """

    space: ClassVar[str]
    axes: ClassVar[tuple[str, str]] = ('layer', 'node (layer, scale)')

    name: str
    level: str
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'provenance', MappingProxyType(dict(self.provenance)))
        if self.level not in LEVELS:
            self._fail(f"level '{self.level}' is unknown; it is one of {', '.join(LEVELS)}")
        self._validate()

    def __reduce__(self) -> tuple:
        """Return a constructor and its argument: copies and pickles go through the document."""
        return type(self).from_document, (self.to_document(),)

    @abstractmethod
    def _validate(self) -> None:
        """Raise :class:`ArchitectureError` where this is no network of the space."""

    @abstractmethod
    def _body(self) -> dict[str, Any]:
        """Return the space's own part of the JSON document."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Build from a parsed JSON document; inverse of :meth:`to_document`.

        Raises:
            ArchitectureError: The document describes no network of the space.
        """
        name = str(document.get('name', 'unnamed'))
        try:
            return cls(
                name=name,
                level=document['level'],
                provenance=document.get('provenance', {}),
                **cls._parse(document),
            )
        except ArchitectureError:
            raise
        except KeyError as error:
            raise ArchitectureError(f"architecture '{name}': key {error} is missing") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise ArchitectureError(
                f"architecture '{name}': a value is not of the kind it should be ({error})"
            ) from None

    @classmethod
    @abstractmethod
    def _parse(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Parse the space's own fields from its part of the document; inverse of :meth:`_body`."""

    @abstractmethod
    def pruned(self) -> Architecture:
        """Return the network without parts that never receive input or never reach the output."""

    @abstractmethod
    def at_level(self, level: str) -> Architecture:
        """Return what was known of this network when ``level`` had been decided.

        Raises:
            ArchitectureError: The level has not been decided, or the network does not tell it.
        """

    def union(self, other: Self) -> Self:
        """Return the union of two architectures, where a stage joins its results."""
        raise NotImplementedError(f'networks of space {self.space} cannot be joined')

    @property
    @abstractmethod
    def graph(self) -> tuple[Edge, ...]:
        """Edges that a picture shows, between nodes as the search's decisions name them."""

    @property
    @abstractmethod
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        """Operations by the places where a search decides on them."""

    @property
    @abstractmethod
    def summary(self) -> dict[str, str]:
        """Short facts by key, for tables and logs."""

    @property
    @abstractmethod
    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and rows of a table that describes the whole network."""

    @property
    def scalars(self) -> dict[str, float]:
        """Numbers by name that a search logs after every epoch."""
        return {}

    @property
    def complete(self) -> bool:
        """Whether everything is decided, so that the network can be built."""
        return self.level == LEVELS[-1]

    def _fail(self, message: str) -> NoReturn:
        raise ArchitectureError(f"architecture '{self.name}': {message}")

    def require(self, space: str, level: str, by: str) -> None:
        """Refuse an architecture of another space or level than ``by`` is built from.

        Raises:
            ArchitectureError: The architecture is of another space or level; the message says what
                would do.
        """
        if self.space != space:
            self._fail(f"is of space '{self.space}', but {by} needs one of space '{space}'")
        if self.level != level:
            todo = {
                'path': 'a path search writes one',
                'connection': 'a connection search, started from a path, writes one',
                'cell': 'the search must still go through its remaining stages to write one',
            }[level]
            self._fail(f"is of level '{self.level}', but {by} needs level '{level}' ({todo})")

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document as a dict."""
        return {
            'format': FORMAT,
            'space': self.space,
            'level': self.level,
            'name': self.name,
            **self._body(),
            'provenance': dict(self.provenance),
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON file, atomically, one list entry a line."""
        lines = []
        for key, value in self.to_document().items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                rows = ',\n'.join('    ' + json.dumps(row) for row in value)
                lines.append(f'  {json.dumps(key)}: [\n{rows}\n  ]')
            else:
                lines.append(f'  {json.dumps(key)}: {json.dumps(value)}')
        write_text(path, '{\n' + ',\n'.join(lines) + '\n}\n')

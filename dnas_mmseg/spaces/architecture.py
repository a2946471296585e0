"""Base class of the architectures of all search spaces: immutable values with a JSON form."""

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
"""Node of a network: (layer, scale), or the coordinates that its space uses."""

Edge = tuple[Point, Point]
"""Source and target."""

LEVELS = ('path', 'connection', 'cell')
"""Decision levels of a search, in order; a network of the last one is complete."""

FORMAT = 1
"""Version of the JSON format."""


class ArchitectureError(UserError):
    """Raised for an architecture that is invalid, or of the wrong space or level."""


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """Describe a network of a search space: immutable, comparable, independent of torch.

    Attributes:
        space: Name of the search space, such as ``'dnas'``.
        name: Name of this network.
        level: Last decided level: ``'path'``, ``'connection'``, or ``'cell'`` (complete).
        provenance: Origin of the architecture, free text by key; ignored in comparisons.
        axes: Axis labels of figures: first coordinate of nodes, nodes that have operations.
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
        """Copy and pickle through the document, because mapping proxies cannot be pickled."""
        return type(self).from_document, (self.to_document(),)

    @abstractmethod
    def _validate(self) -> None:
        """Raise :class:`ArchitectureError` if the values do not describe a network of the space."""

    @abstractmethod
    def _body(self) -> dict[str, Any]:
        """Return the space-specific fields of the JSON document."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Build from a parsed JSON document; inverse of :meth:`to_document`.

        Raises:
            ArchitectureError: The document does not describe a network of the space.
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
                f"architecture '{name}': a value has the wrong type ({error})"
            ) from None

    @classmethod
    @abstractmethod
    def _parse(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Parse the space-specific fields of the document; inverse of :meth:`_body`."""

    @abstractmethod
    def pruned(self) -> Architecture:
        """Return the network without parts that receive no input or do not reach the output."""

    @abstractmethod
    def at_level(self, level: str) -> Architecture:
        """Return this network with only the decisions up to ``level``.

        Raises:
            ArchitectureError: The level is not decided, or cannot be derived from the network.
        """

    def union(self, other: Self) -> Self:
        """Return the union of two architectures, for stages that join their results."""
        raise NotImplementedError(f'space {self.space} does not support unions')

    @property
    @abstractmethod
    def graph(self) -> tuple[Edge, ...]:
        """Edges between the nodes of the search's decisions, as figures show them."""

    @property
    @abstractmethod
    def selected_operations(self) -> dict[Point, tuple[str, ...]]:
        """Selected operations by node of the search's decisions."""

    @property
    @abstractmethod
    def summary(self) -> dict[str, str]:
        """Short descriptions by key, for tables and logs."""

    @property
    @abstractmethod
    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and rows of a table that describes the whole network."""

    @property
    def scalars(self) -> dict[str, float]:
        """Scalars by name that a search logs after every epoch."""
        return {}

    @property
    def complete(self) -> bool:
        """Whether all levels are decided, so that the network can be built."""
        return self.level == LEVELS[-1]

    def _fail(self, message: str) -> NoReturn:
        raise ArchitectureError(f"architecture '{self.name}': {message}")

    def require(self, space: str, level: str, by: str) -> None:
        """Check the space and the level that ``by`` requires.

        Raises:
            ArchitectureError: The space or level differs; the message states how to get the level.
        """
        if self.space != space:
            self._fail(f"is of space '{self.space}', but {by} needs one of space '{space}'")
        if self.level != level:
            hint = {
                'path': 'a path search writes one',
                'connection': 'a connection search, started from a path, writes one',
                'cell': 'the remaining stages of the search write one',
            }[level]
            self._fail(f"is of level '{self.level}', but {by} needs level '{level}' ({hint})")

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
        """Write the JSON file atomically, one list entry per line."""
        lines = []
        for key, value in self.to_document().items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                rows = ',\n'.join('    ' + json.dumps(row) for row in value)
                lines.append(f'  {json.dumps(key)}: [\n{rows}\n  ]')
            else:
                lines.append(f'  {json.dumps(key)}: {json.dumps(value)}')
        write_text(path, '{\n' + ',\n'.join(lines) + '\n}\n')

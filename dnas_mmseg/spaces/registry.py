"""Registry of the search spaces, and architectures of any of them from a name, a file or a dict.

It knows no space: each registers itself (:func:`register_space`) where its folder is imported, and
other packages add theirs by an entry point of the group ``dnas_mmseg.spaces``.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .architecture import FORMAT, LEVELS, Architecture, ArchitectureError

if TYPE_CHECKING:
    from .space import SearchSpace

A = TypeVar('A', bound=Architecture)
S = TypeVar('S', bound='type[SearchSpace]')

GROUP = 'dnas_mmseg.spaces'
"""Group of the entry points by which other packages add spaces."""


class _Spaces(Mapping[str, 'SearchSpace']):
    """Search spaces by name, in the order of their registration."""

    def __init__(self) -> None:
        self._spaces: dict[str, SearchSpace] = {}

    def __getitem__(self, name: str) -> SearchSpace:
        return self._spaces[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spaces)

    def __len__(self) -> int:
        return len(self._spaces)


SPACES = _Spaces()
"""Every search space by name."""


def register_space(space: S) -> S:
    """Register a search space; a decorator of subclasses of :class:`SearchSpace`.

    Raises:
        ValueError: Another space has this name.

    Example:
        >>> @register_space
        ... class MySpace(SearchSpace):
        ...     architecture = MyArchitecture
        ...     network = 'MyNetwork'
    """
    made = space()
    if type(SPACES._spaces.get(made.name, made)) is not space:
        raise ValueError(f"two search spaces are named '{made.name}'")
    SPACES._spaces[made.name] = made
    return space


def load_plugins() -> None:
    """Import the spaces of other packages, whose modules register them.

    One that fails is named in a warning; it must not take the others with it.
    """
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            warnings.warn(
                f"search space '{point.name}' of another package ({point.value}) cannot be "
                f'imported: {type(error).__name__}: {error}',
                stacklevel=2,
            )


def _published() -> dict[str, Path]:
    return {path.stem: path for space in SPACES.values() for path in space.published}


def published_architectures() -> tuple[str, ...]:
    """Return the names of the architectures that ship with the spaces."""
    return tuple(sorted(_published()))


def load_architecture(source: str | os.PathLike | Mapping[str, Any] | Architecture) -> Architecture:
    """Load an architecture.

    Args:
        source: Published name (:func:`published_architectures`), path of a JSON file, parsed JSON
            document, or an architecture, which is returned as it is. A name or path may end in
            ``@path`` or ``@connection`` for what was known of it at that level.

    Raises:
        ArchitectureError: The file is missing, cut off, or describes no network; the message
            names the file and what is wrong in it.
    """
    if isinstance(source, Architecture):
        return source
    if isinstance(source, Mapping):
        return _from_document(source)
    name, _, level = str(source).rpartition('@')
    if name and level in LEVELS:
        return load_architecture(name).at_level(level)
    path = _published().get(str(source), Path(source))
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise ArchitectureError(
            f"'{source}' is neither a file nor a published architecture "
            f'({", ".join(published_architectures())})'
        ) from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ArchitectureError(f'{path} is not a JSON text file') from None
    try:
        return _from_document(json.loads(text))
    except json.JSONDecodeError as error:
        raise ArchitectureError(
            f'{path} is not complete JSON (line {error.lineno}: {error.msg}). If it was cut off, '
            'copy it again or let the search write it again.'
        ) from None
    except ArchitectureError as error:
        raise ArchitectureError(f'{path}: {error}') from None


def load_for(
    by: str, source: str | os.PathLike | Mapping[str, Any] | Architecture, kind: type[A], level: str
) -> A:
    """Load an architecture that something is built from.

    Args:
        by: Name of what is built from it, for the message.
        source: Source as in :func:`load_architecture`.
        kind: Type that the architecture must be of.
        level: Level that the architecture must be of.

    Raises:
        ArchitectureError: The architecture cannot be loaded, or is of another space or level.
    """
    architecture = load_architecture(source)
    architecture.require(kind.space, level, by)
    assert isinstance(architecture, kind)  # a space has one kind
    return architecture


def _from_document(document: Any) -> Architecture:
    if isinstance(document, list):
        raise ArchitectureError(
            f'more than one network: a list of {len(document)}; a file holds one network'
        )
    if not isinstance(document, Mapping):
        raise ArchitectureError(f'an architecture is a JSON object, not {type(document).__name__}')
    if document.get('format') != FORMAT:
        raise ArchitectureError(
            f"'format' is {document.get('format')!r}; this version reads format {FORMAT}"
        )
    space = document.get('space')
    if not isinstance(space, str) or space not in SPACES:
        raise ArchitectureError(f"space '{space}' is unknown; there are {', '.join(SPACES)}")
    return SPACES[space].architecture.from_document(document)

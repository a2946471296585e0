"""Registry of the search spaces; architectures of all spaces by name, file or document.

A space registers itself on import (:func:`register_space`). Other packages add spaces by an entry
point of the group ``dnas_mmseg.spaces``.
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
"""Entry point group for search spaces of other packages."""


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
    """Register a search space: decorator for subclasses of :class:`SearchSpace`.

    Raises:
        ValueError: Another space has the same name.

    Example::

        @register_space
        class MySpace(SearchSpace):
            architecture = MyArchitecture
            network = 'MyNetwork'
    """
    instance = space()
    if type(SPACES._spaces.get(instance.name, instance)) is not space:
        raise ValueError(f"two search spaces are named '{instance.name}'")
    SPACES._spaces[instance.name] = instance
    return space


def load_plugins() -> None:
    """Import the modules that register the search spaces of other packages.

    A module that fails to import causes a warning; the other spaces remain usable.
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
    """Return the names of the architectures that are included in the spaces."""
    return tuple(sorted(_published()))


def load_architecture(source: str | os.PathLike | Mapping[str, Any] | Architecture) -> Architecture:
    """Load an architecture.

    Args:
        source: Published name (:func:`published_architectures`), path of a JSON file, parsed JSON
            document, or an architecture, which is returned unchanged. A name or path that ends in
            ``@path`` or ``@connection`` loads only the decisions up to that level.

    Raises:
        ArchitectureError: The file is missing, incomplete, or does not describe a network; the
            message names the file and the problem.

    Example:
        >>> load_architecture('dnas_l14_gid5').summary['edges']
        '83'
        >>> load_architecture('dnas_l14_gid5@path').level
        'path'
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
            'copy it or run the search again.'
        ) from None
    except ArchitectureError as error:
        raise ArchitectureError(f'{path}: {error}') from None


def load_for(
    by: str, source: str | os.PathLike | Mapping[str, Any] | Architecture, kind: type[A], level: str
) -> A:
    """Load an architecture of a required type and level.

    Args:
        by: Name of the object that requires it, for error messages.
        source: Argument of :func:`load_architecture`.
        kind: Required type.
        level: Required level.

    Raises:
        ArchitectureError: The architecture cannot be loaded, or its space or level differs.
    """
    architecture = load_architecture(source)
    architecture.require(kind.space, level, by)
    assert isinstance(architecture, kind)  # each space has one type
    return architecture


def _from_document(document: Any) -> Architecture:
    if isinstance(document, list):
        raise ArchitectureError(
            f'more than one network: a list of {len(document)}; a file contains one network'
        )
    if not isinstance(document, Mapping):
        raise ArchitectureError(f'an architecture is a JSON object, not {type(document).__name__}')
    if document.get('format') != FORMAT:
        raise ArchitectureError(
            f"'format' is {document.get('format')!r}; this version reads format {FORMAT}"
        )
    space = document.get('space')
    if not isinstance(space, str) or space not in SPACES:
        raise ArchitectureError(f"space '{space}' is unknown; available: {', '.join(SPACES)}")
    return SPACES[space].architecture.from_document(document)

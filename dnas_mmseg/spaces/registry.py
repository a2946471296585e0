"""The search spaces, and architectures of any of them from a name, a JSON file or a dict."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dnas_mmseg.spaces.autodeeplab.architecture import AutoDeepLabArchitecture
from dnas_mmseg.spaces.densenas.architecture import DenseNASArchitecture
from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture

from .architecture import FORMAT, LEVELS, Architecture, ArchitectureError
from .autodeeplab import change as autodeeplab_change
from .autodeeplab import decoding as autodeeplab
from .autodeeplab import encoding as autodeeplab_encoding
from .densenas import change as densenas_change
from .densenas import decoding as densenas
from .densenas import encoding as densenas_encoding
from .densenas.graph import DenseSpace, dense_space
from .dnas import change as dnas_change
from .dnas import decoding as dnas
from .dnas import encoding as dnas_encoding
from .space import SearchSpace, SeveralTargets, Stage

A = TypeVar('A', bound=Architecture)


def _dense_space(supernet: Mapping[str, Any]) -> DenseSpace:
    keys = ('block', 'widths', 'strides', 'depths', 'window')
    return dense_space(*(supernet[key] for key in keys))


SPACES = {
    space.name: space
    for space in (
        SearchSpace(
            architecture=DNASArchitecture,
            network='DNAS',
            config='dnas/dnas_l14_adamw-ema_gid5.py',
            stages=tuple(
                Stage(level, f'dnas/dnas_l14_{level}-search_gid5.py', several)
                for level, several in (
                    ('path', SeveralTargets.SHARED),
                    ('connection', SeveralTargets.JOINED),
                    ('cell', SeveralTargets.WITHIN),
                )
            ),
            shared=('in_channels', 'base_channels', 'norm_cfg'),
            draw=lambda supernet, rng, name: dnas.random_architecture(
                supernet['layers'], rng, name
            ),
            change=lambda supernet, network, rng: dnas_change.random_change(network, rng),
            encode=dnas_encoding.encode,
            width='base_channels',
            counted_as={'prune': False},
        ),
        SearchSpace(
            architecture=AutoDeepLabArchitecture,
            network='AutoDeepLab',
            config='autodeeplab/autodeeplab_s_adamw-ema_gid5.py',
            stages=(Stage('cell', 'autodeeplab/autodeeplab_search_gid5.py'),),
            shared=('in_channels', 'stem_channels', 'norm_cfg'),
            draw=lambda supernet, rng, name: autodeeplab.random_architecture(
                supernet['layers'], supernet['blocks'], rng, name
            ),
            change=lambda supernet, network, rng: autodeeplab_change.random_change(network, rng),
            encode=autodeeplab_encoding.encode,
            width='filters',
            own_head=True,
        ),
        SearchSpace(
            architecture=DenseNASArchitecture,
            network='DenseNAS',
            config='densenas/densenas_a_adamw-ema_gid5.py',
            stages=(Stage('cell', 'densenas/densenas_search_gid5.py'),),
            shared=('in_channels', 'out_indices', 'norm_cfg'),
            draw=lambda supernet, rng, name: densenas.random_architecture(
                _dense_space(supernet), rng, name, supernet['final'] or 0
            ),
            change=lambda supernet, network, rng: densenas_change.random_change(
                _dense_space(supernet), network, rng
            ),
            encode=densenas_encoding.encode,
        ),
    )
}  # fmt: skip
"""Every search space by name. A new space adds its entry here."""

_PUBLISHED = {path.stem: path for path in sorted(Path(__file__).parent.glob('*/published/*.json'))}


def published_architectures() -> tuple[str, ...]:
    """Return the names of the architectures that ship with the package."""
    return tuple(sorted(_PUBLISHED))


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
    path = _PUBLISHED.get(str(source), Path(source))
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

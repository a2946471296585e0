"""Names of bands in files and from users, their comparison, and the choice of a model's bands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .errors import UserError

RGB = ('red', 'green', 'blue')
ALPHA = 'alpha'

_ALIASES = {
    'coastal': ('coastalaerosol', 'ultrablue', 'b1', 'b01'),
    'blue': ('b2', 'b02'),
    'green': ('b3', 'b03'),
    'red': ('b4', 'b04'),
    'nir': ('nearinfrared', 'nearir', 'infrared', 'nir1', 'b8', 'b08'),
    'nir08': ('narrownir', 'nirnarrow', 'b8a'),
    'nir09': ('watervapour', 'watervapor', 'b9', 'b09'),
    'rededge': (),
    'rededge071': ('rededge1', 'vegetationrededge1'),
    'rededge075': ('rededge2', 'vegetationrededge2'),
    'rededge078': ('rededge3', 'vegetationrededge3'),
    'swir16': ('swir1', 'b11'),
    'swir22': ('swir2', 'b12'),
    'cirrus': ('b10',),
    'yellow': (),
    'pan': ('panchromatic',),
    'lwir': (),
    ALPHA: (),
}
"""Common names of STAC's eo extension, with what files write for them.

The numbers are Sentinel-2's. Its B5 to B7 are other bands than Landsat's of the same numbers, so
those three stay as they are written.
"""

_COMMON = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_NUMBERED = re.compile(r'(?:band|layer|channel|b)?[ _-]*(\d+)')


def band_name(text: str) -> str:
    """Return a band's name in the form for comparison: lower case, a common name where possible.

    ``'B08'``, ``'NIR'``, ``'near infrared'`` and ``'Band 4 (NIR)'`` are all ``'nir'``; any other
    name stays, without space around it.
    """
    lower = str(text).strip().lower()
    for part in (lower, *re.split(r'[()\[\]:,/]| - ', lower)):
        common = _COMMON.get(re.sub(r'[^a-z0-9]', '', part))
        if common is not None:
            return common
    return lower


def band_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return band names in the form for comparison, see :func:`band_name`.

    Raises:
        UserError: A single string was given, or a name occurs twice.
    """
    if isinstance(names, str):
        raise UserError(f"bands = '{names}': give a list of names, ('{names}',) for a single one")
    result = tuple(band_name(name) for name in names or ())
    if len(set(result)) != len(result):
        raise UserError(f'bands = {result}: a name occurs twice')
    return result


def described_bands(descriptions: Sequence[str]) -> tuple[str, ...]:
    """Return the names in a file's band descriptions, ``''`` where one has none.

    Numbers from 1 upwards in their order (``Band 1``, ``b2``, ``3``) are no names: programs
    describe unknown bands in this way.
    """
    lower = [text.strip().lower() for text in descriptions]
    numbers = [_NUMBERED.fullmatch(text) for text in lower]
    if all(match and int(match[1]) == i for i, match in enumerate(numbers, 1)):
        return ('',) * len(lower)
    return tuple(
        '' if re.fullmatch(r'(band|layer|channel)[ _-]*\d*', text) else band_name(text)
        for text in lower
    )


class BandChoice(NamedTuple):
    """Bands of a file that are used, with notes on the choice.

    Attributes:
        index: Positions in the file, from 0, in the order in which they are used.
        names: Names of the bands in that order; empty where they are unknown.
        notes: Assumptions that were made, a sentence each.
    """

    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_bands(
    path: str,
    told: Sequence[str],
    wanted: Sequence[str] = (),
    given: Sequence[str] = (),
) -> BandChoice:
    """Choose the bands of a file that a model takes.

    Names from the user win over those in the file. Where neither names the bands and their number
    fits, the file's order is taken and a note says so. An alpha band is used only where the user
    names as many bands as the file has with it.

    Args:
        path: Path of the file, for messages.
        told: Names that the file gives its bands: a name, ``'alpha'``, or ``''``.
        wanted: Names of the model's bands, in its order; empty where they are not known.
        given: Names of the file's bands from the user, in the file's order.

    Raises:
        UserError: A band is missing, the file contradicts what is wanted, or the names of the bands
            are unknown.
    """
    data = tuple(i for i, name in enumerate(told) if name != ALPHA)
    if given:
        return _choose_given(path, told, data, tuple(wanted), tuple(given))
    names = tuple(told[i] for i in data)
    if not wanted:
        return BandChoice(data, names if all(names) else ())
    missing = [name for name in wanted if name not in names]
    if not missing:
        return BandChoice(tuple(data[names.index(name)] for name in wanted), tuple(wanted))
    unnamed = [i for i in data if not told[i]]
    known = [name for name in names if name in _ALIASES]
    if len(wanted) == len(data):
        if not known and len(missing) == len(wanted):
            note = (
                f'{path} does not say which band is which: taken as {", ".join(wanted)}, in this '
                'order'
            )
            return BandChoice(data, tuple(wanted), (note,))
        if len(unnamed) == len(missing) == 1:
            note = f'{path}: band {unnamed[0] + 1} has no name, taken as {missing[0]}'
            index = (unnamed[0] if name in missing else data[names.index(name)] for name in wanted)
            return BandChoice(tuple(index), tuple(wanted), (note,))
    hint = ''
    if ALPHA in told and len(wanted) == len(told):
        hint = (
            f'; band {told.index(ALPHA) + 1} is tagged as alpha (transparency), so it is not taken '
            'for one'
        )
    if len(wanted) > len(told):
        remedy = (
            'It has too few bands for this model: take a model for the bands that it has, or train '
            'one'
        )
    else:
        remedy = 'Say what its bands are, in file order (`bands`, --bands)'
    raise UserError(
        f'{path}: the model takes {", ".join(wanted)}; the file has {_listed(told)}{hint}. {remedy}'
    )


def _choose_given(
    path: str,
    told: Sequence[str],
    data: tuple[int, ...],
    wanted: tuple[str, ...],
    given: tuple[str, ...],
) -> BandChoice:
    if len(given) not in (len(told), len(data)):
        without_alpha = f' ({len(data)} without alpha)' if len(data) != len(told) else ''
        raise UserError(
            f'{path} has {len(told)} bands{without_alpha}, but {len(given)} are named '
            f'({", ".join(given)})'
        )
    places = tuple(range(len(told))) if len(given) == len(told) else data
    missing = [name for name in wanted if name not in given]
    if missing:
        raise UserError(
            f'{path}: the model takes {", ".join(wanted)}; the bands are given as '
            f'{", ".join(given)}, without {", ".join(missing)}'
        )
    notes = tuple(
        f'{path}: band {place + 1} is {told[place]} by the file and taken as {name}, as given'
        for place, name in zip(places, given, strict=True)
        if told[place] in _ALIASES and told[place] != name
    )
    chosen = wanted or given
    return BandChoice(tuple(places[given.index(name)] for name in chosen), chosen, notes)


def _listed(told: Sequence[str]) -> str:
    if not any(told):
        return f'{len(told)} bands without names'
    return ', '.join(name or f'an unnamed band ({i})' for i, name in enumerate(told, 1))

"""Band names: normalization, parsing of band descriptions, and selection of a model's bands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .errors import UserError

RGB = ('red', 'green', 'blue')
ALPHA = 'alpha'

_ALIASES = {
    'coastal': ('coastalaerosol', 'ultrablue'),
    'blue': (),
    'green': (),
    'red': (),
    'nir': ('nearinfrared', 'nearir', 'infrared', 'nir1'),
    'nir08': ('narrownir', 'nirnarrow'),
    'nir09': ('watervapour', 'watervapor'),
    'rededge': (),
    'rededge071': ('rededge1', 'vegetationrededge1'),
    'rededge075': ('rededge2', 'vegetationrededge2'),
    'rededge078': ('rededge3', 'vegetationrededge3'),
    'swir16': ('swir1',),
    'swir22': ('swir2',),
    'cirrus': (),
    'yellow': (),
    'pan': ('panchromatic',),
    'lwir': (),
    'lwir11': (),
    'lwir12': (),
    ALPHA: (),
}
"""Common names of STAC's eo extension with their aliases (lower case, letters and digits)."""

COMMON_NAMES = frozenset(_ALIASES)
"""Names that are independent of the sensor."""

_SENSORS = {
    'Sentinel-2': {
        'b1': 'coastal', 'b2': 'blue', 'b3': 'green', 'b4': 'red', 'b5': 'rededge071',
        'b6': 'rededge075', 'b7': 'rededge078', 'b8': 'nir', 'b8a': 'nir08', 'b9': 'nir09',
        'b10': 'cirrus', 'b11': 'swir16', 'b12': 'swir22',
    },
    'Landsat 8-9': {
        'b1': 'coastal', 'b2': 'blue', 'b3': 'green', 'b4': 'red', 'b5': 'nir', 'b6': 'swir16',
        'b7': 'swir22', 'b8': 'pan', 'b9': 'cirrus', 'b10': 'lwir11', 'b11': 'lwir12',
    },
    'Landsat 4-7': {
        'b1': 'blue', 'b2': 'green', 'b3': 'red', 'b4': 'nir', 'b5': 'swir16', 'b6': 'lwir',
        'b7': 'swir22', 'b8': 'pan',
    },
}  # fmt: skip
"""Common names of band numbers by sensor; without the sensor, a number is ambiguous."""

_SENSOR_NAMES = {
    'Sentinel-2': r'sentinel[-_ ]?2|(?<![a-z0-9])s2[abc]?[-_]|s2msi',
    'Landsat 8-9': r'landsat[-_ ]?[89]|(?<![a-z0-9])l[cot]0[89]_',
    'Landsat 4-7': r'landsat[-_ ]?[4-7]|(?<![a-z0-9])l[tem]0[4-7]_',
}
"""Patterns of sensor names in file names and metadata."""

_COMMON = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_POSITION = re.compile(r'(?:band|layer|channel|b)?[ _-]*(\d+)')
_NUMBER = re.compile(r'b(0?)(\d{1,2}a?)')


def find_sensor(names: Iterable[str], text: str = '') -> str:
    """Return the sensor that a list of band names belongs to; empty if unknown.

    Args:
        names: Band names. Only Sentinel-2 has numbers with a leading zero, B8A, and B12.
        text: Text that may name the sensor, such as the file name and metadata.
    """
    numbers = [_NUMBER.fullmatch(_alphanumeric(name)) for name in names]
    if any(match and (match[1] or match[2] in ('8a', '12')) for match in numbers):
        return 'Sentinel-2'
    found = [name for name, pattern in _SENSOR_NAMES.items() if re.search(pattern, text.lower())]
    return found[0] if len(found) == 1 else ''


def band_name(text: str, sensor: str = '') -> str:
    """Normalize a band name: lower case, and STAC's common name if there is one.

    A word takes precedence over a number: ``'B8 (Panchromatic)'`` is ``'pan'``. Unknown names are
    only lower-cased and stripped.

    Args:
        text: Band name.
        sensor: Sensor of band numbers (:func:`find_sensor`); if empty, numbers are not resolved.

    Example:
        >>> band_name('Band 4 (NIR)'), band_name('B8', 'Sentinel-2'), band_name('B8')
        ('nir', 'nir', 'b8')
    """
    lower = str(text).strip().lower()
    parts = [_alphanumeric(part) for part in (lower, *re.split(r'[()\[\]:,/]| - ', lower))]
    for part in parts:
        if part in _COMMON:
            return _COMMON[part]
    for part in parts:
        match = _NUMBER.fullmatch(part)
        if match:
            number = f'b{match[2]}'
            return _SENSORS[sensor].get(number, number) if sensor else number
    return lower


def band_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Normalize band names, see :func:`band_name`.

    Raises:
        UserError: ``names`` is a single string, or a name occurs twice.
    """
    if isinstance(names, str):
        raise UserError(
            f"bands = '{names}': expected a list of names, ('{names}',) for a single one"
        )
    names = [str(name) for name in names or ()]
    sensor = find_sensor(names)
    result = tuple(band_name(name, sensor) for name in names)
    if len(set(result)) != len(result):
        raise UserError(f'bands = {result}: a name occurs twice')
    return result


def described_bands(descriptions: Sequence[str], text: str = '') -> tuple[str, ...]:
    """Return the name in each band description of a file, or ``''``.

    Consecutive numbers from 1 (``Band 1``, ``b2``, ``3``) are names only if the sensor is known,
    since programs number unknown bands in the same way.

    Args:
        descriptions: Band descriptions, in file order.
        text: Text that may name the sensor, such as the file name and metadata.

    Example:
        >>> described_bands(['Band 1', 'Band 2']), described_bands(['Red', 'Band 4 (NIR)'])
        (('', ''), ('red', 'nir'))
    """
    lower = [text.strip().lower() for text in descriptions]
    sensor = find_sensor(lower, text)
    positions = [_POSITION.fullmatch(text) for text in lower]
    if not sensor and all(match and int(match[1]) == i for i, match in enumerate(positions, 1)):
        return ('',) * len(lower)
    return tuple(
        '' if re.fullmatch(r'((band|layer|channel)[ _-]*)?\d*', text) else band_name(text, sensor)
        for text in lower
    )


def _alphanumeric(text: str) -> str:
    return re.sub(r'[^a-z0-9]', '', str(text).lower())


def ambiguity_hint(names: Iterable[str]) -> str:
    """Return a hint about ambiguous band numbers among names; empty if there are none."""
    numbers = [name.upper() for name in names if _NUMBER.fullmatch(name)]
    if not numbers:
        return ''
    return (
        f'; {", ".join(numbers[:4])}: a number means different bands on Sentinel-2, Landsat 4-7 '
        'and Landsat 8-9, and the sensor is unknown'
    )


class BandChoice(NamedTuple):
    """Selected bands of a file.

    Attributes:
        index: Positions of the bands in the file, from 0, in the order of use.
        names: Names of the bands in this order; empty if unknown.
        notes: Assumptions made, one sentence each.
    """

    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_bands(
    path: str,
    stored: Sequence[str],
    wanted: Sequence[str] = (),
    user_bands: Sequence[str] = (),
    assumed: Sequence[str] = (),
) -> BandChoice:
    """Select the bands of a file that a model takes, by name.

    Names set by the user override those in the file. If there are neither, but the number of bands
    matches, the file is assumed to have the order ``assumed``, with a note. An alpha band is used
    only if the user names all bands of the file, alpha included.

    Args:
        path: Path of the file, for messages.
        stored: Names stored in the file, one per band: a name, ``'alpha'``, or ``''``.
        wanted: Names of the model's bands, in its order; if empty, all bands are selected.
        user_bands: Names of the file's bands set by the user, in file order.
        assumed: Order of the wanted bands in files without band names; defaults to that of
            ``wanted``.

    Raises:
        UserError: A wanted band is missing, the band names are unknown, or the number of names does
            not match the file.

    Example:
        >>> choose_bands('a.tif', ('blue', 'green', 'red', 'nir'), ('nir', 'red'))
        BandChoice(index=(3, 2), names=('nir', 'red'), notes=())
    """
    data = tuple(i for i, name in enumerate(stored) if name != ALPHA)
    if user_bands:
        return _choose_user_bands(path, stored, data, tuple(wanted), tuple(user_bands))
    names = tuple(stored[i] for i in data)
    if not wanted:
        return BandChoice(data, names if all(names) else ())
    missing = [name for name in wanted if name not in names]
    if not missing:
        return BandChoice(tuple(data[names.index(name)] for name in wanted), tuple(wanted))
    unnamed = [i for i in data if not stored[i]]
    known = [name for name in names if name in _ALIASES or _NUMBER.fullmatch(name)]
    if len(wanted) == len(data):
        if not known and len(missing) == len(wanted):
            own = f'bands {", ".join(names)}' if all(names) else 'no band names'
            order = tuple(assumed or wanted)
            note = f'{path} has {own}: assumed to be {", ".join(order)}, in this order'
            places = tuple(data[order.index(name)] for name in wanted)
            return BandChoice(places, tuple(wanted), (note,))
        if len(unnamed) == len(missing) == 1:
            note = f'{path}: band {unnamed[0] + 1} has no name, assumed to be {missing[0]}'
            index = (unnamed[0] if name in missing else data[names.index(name)] for name in wanted)
            return BandChoice(tuple(index), tuple(wanted), (note,))
    hint = ambiguity_hint(names)
    if ALPHA in stored and len(wanted) == len(stored):
        hint = (
            f'; band {stored.index(ALPHA) + 1} is tagged as alpha (transparency) and '
            'therefore not used'
        )
    if len(wanted) > len(stored):
        remedy = 'Too few bands for this model: use or train a model for the bands of the file'
    else:
        remedy = 'Set its band names in file order (`bands`, --bands)'
    raise UserError(
        f'{path}: the model takes {", ".join(wanted)}; the file has {_list_bands(stored)}{hint}. '
        f'{remedy}'
    )


def _choose_user_bands(
    path: str,
    stored: Sequence[str],
    data: tuple[int, ...],
    wanted: tuple[str, ...],
    user_bands: tuple[str, ...],
) -> BandChoice:
    if len(user_bands) not in (len(stored), len(data)):
        without_alpha = f' ({len(data)} without alpha)' if len(data) != len(stored) else ''
        raise UserError(
            f'{path} has {len(stored)} bands{without_alpha}, but {len(user_bands)} band '
            f'names are set ({", ".join(user_bands)})'
        )
    positions = tuple(range(len(stored))) if len(user_bands) == len(stored) else data
    missing = [name for name in wanted if name not in user_bands]
    if missing:
        raise UserError(
            f'{path}: the model takes {", ".join(wanted)}; the band names are set '
            f'to {", ".join(user_bands)}, without {", ".join(missing)}{ambiguity_hint(user_bands)}'
        )
    notes = tuple(
        f'{path}: band {position + 1} is {stored[position]} in the file, but used as {name}, as set'
        for position, name in zip(positions, user_bands, strict=True)
        if stored[position] in _ALIASES
        and stored[position] != name
        and all(numbers.get(name) != stored[position] for numbers in _SENSORS.values())
    )
    chosen = wanted or user_bands
    return BandChoice(tuple(positions[user_bands.index(name)] for name in chosen), chosen, notes)


def _list_bands(stored: Sequence[str]) -> str:
    if not any(stored):
        return f'{len(stored)} bands without names'
    return ', '.join(name or f'an unnamed band ({i})' for i, name in enumerate(stored, 1))

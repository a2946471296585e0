"""Names of bands in files and from users, their comparison, and the choice of a model's bands."""

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
"""Common names of STAC's eo extension, with other words for them."""

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
"""Band numbers of sensors. A number alone is ambiguous, since they differ."""

_SENSOR_NAMES = {
    'Sentinel-2': r'sentinel[-_ ]?2|(?<![a-z0-9])s2[abc]?[-_]|s2msi',
    'Landsat 8-9': r'landsat[-_ ]?[89]|(?<![a-z0-9])l[cot]0[89]_',
    'Landsat 4-7': r'landsat[-_ ]?[4-7]|(?<![a-z0-9])l[tem]0[4-7]_',
}
"""How names of files and their metadata say the sensor."""

_COMMON = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}
_COUNTED = re.compile(r'(?:band|layer|channel|b)?[ _-]*(\d+)')
_NUMBER = re.compile(r'b(0?)(\d{1,2}a?)')


def find_sensor(names: Iterable[str], text: str = '') -> str:
    """Return the sensor whose band numbers a list of names has; empty where that is unknown.

    Args:
        names: Names of bands. Numbers with a leading zero, B8A and B12 are Sentinel-2's alone.
        text: Further text, such as the file's name and its metadata, which may name the sensor.
    """
    numbers = [_NUMBER.fullmatch(_letters(name)) for name in names]
    if any(match and (match[1] or match[2] in ('8a', '12')) for match in numbers):
        return 'Sentinel-2'
    found = [name for name, pattern in _SENSOR_NAMES.items() if re.search(pattern, text.lower())]
    return found[0] if len(found) == 1 else ''


def band_name(text: str, sensor: str = '') -> str:
    """Return a band's name in the form for comparison: lower case, a common name where possible.

    ``'NIR'``, ``'near infrared'`` and ``'Band 4 (NIR)'`` are all ``'nir'``, and so is ``'B8'`` of
    Sentinel-2. A word counts more than a number: ``'B8 (Panchromatic)'`` is ``'pan'``. Any other
    name stays, without space around it.

    Args:
        text: The name.
        sensor: Sensor of band numbers (:func:`find_sensor`); where it is unknown, numbers stay.
    """
    lower = str(text).strip().lower()
    parts = [_letters(part) for part in (lower, *re.split(r'[()\[\]:,/]| - ', lower))]
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
    """Return band names in the form for comparison, see :func:`band_name`.

    Raises:
        UserError: A single string was given, or a name occurs twice.
    """
    if isinstance(names, str):
        raise UserError(f"bands = '{names}': give a list of names, ('{names}',) for a single one")
    names = [str(name) for name in names or ()]
    sensor = find_sensor(names)
    result = tuple(band_name(name, sensor) for name in names)
    if len(set(result)) != len(result):
        raise UserError(f'bands = {result}: a name occurs twice')
    return result


def described_bands(descriptions: Sequence[str], text: str = '') -> tuple[str, ...]:
    """Return the names in a file's band descriptions, ``''`` where one has none.

    Numbers from 1 upwards in their order (``Band 1``, ``b2``, ``3``) are no names, unless the
    sensor is known: programs describe unknown bands in this way.

    Args:
        descriptions: Descriptions of the bands, in file order.
        text: Name and metadata of the file, which may name the sensor.
    """
    lower = [text.strip().lower() for text in descriptions]
    sensor = find_sensor(lower, text)
    counted = [_COUNTED.fullmatch(text) for text in lower]
    if not sensor and all(match and int(match[1]) == i for i, match in enumerate(counted, 1)):
        return ('',) * len(lower)
    return tuple(
        '' if re.fullmatch(r'((band|layer|channel)[ _-]*)?\d*', text) else band_name(text, sensor)
        for text in lower
    )


def _letters(text: str) -> str:
    return re.sub(r'[^a-z0-9]', '', str(text).lower())


def _ambiguous(names: Iterable[str]) -> str:
    """Return a clause on band numbers among names; empty where there are none."""
    numbers = [name.upper() for name in names if _NUMBER.fullmatch(name)]
    if not numbers:
        return ''
    return (
        f'; {", ".join(numbers[:4])}: a number means different bands on Sentinel-2, Landsat 4-7 '
        'and Landsat 8-9, and nothing says which sensor it is'
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
    stored: Sequence[str],
    wanted: Sequence[str] = (),
    user_bands: Sequence[str] = (),
) -> BandChoice:
    """Choose the bands of a file that a model takes.

    Names from the user win over those in the file. Where neither names the bands and their number
    fits, the file's order is taken and a note says so. An alpha band is used only where the user
    names as many bands as the file has with it.

    Args:
        path: Path of the file, for messages.
        stored: Names stored in the file, one per band: a name, ``'alpha'``, or ``''``.
        wanted: Names of the model's bands, in its order; empty where they are not known.
        user_bands: Names of the file's bands from the user, in the file's order.

    Raises:
        UserError: A band is missing, the file contradicts what is wanted, or the names of the bands
            are unknown.
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
            note = (
                f'{path} does not say which band is which: taken as {", ".join(wanted)}, in this '
                'order'
            )
            return BandChoice(data, tuple(wanted), (note,))
        if len(unnamed) == len(missing) == 1:
            note = f'{path}: band {unnamed[0] + 1} has no name, taken as {missing[0]}'
            index = (unnamed[0] if name in missing else data[names.index(name)] for name in wanted)
            return BandChoice(tuple(index), tuple(wanted), (note,))
    hint = _ambiguous(names)
    if ALPHA in stored and len(wanted) == len(stored):
        hint = (
            f'; band {stored.index(ALPHA) + 1} is tagged as alpha (transparency), so it is '
            'not taken for one'
        )
    if len(wanted) > len(stored):
        remedy = (
            'It has too few bands for this model: take a model for the bands that it has, or train '
            'one'
        )
    else:
        remedy = 'Say what its bands are, in file order (`bands`, --bands)'
    raise UserError(
        f'{path}: the model takes {", ".join(wanted)}; the file has {_listed(stored)}{hint}. '
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
            f'{path} has {len(stored)} bands{without_alpha}, but {len(user_bands)} are named '
            f'({", ".join(user_bands)})'
        )
    places = tuple(range(len(stored))) if len(user_bands) == len(stored) else data
    missing = [name for name in wanted if name not in user_bands]
    if missing:
        raise UserError(
            f'{path}: the model takes {", ".join(wanted)}; the bands are given as '
            f'{", ".join(user_bands)}, without {", ".join(missing)}{_ambiguous(user_bands)}'
        )
    notes = tuple(
        f'{path}: band {place + 1} is {stored[place]} by the file and taken as {name}, as given'
        for place, name in zip(places, user_bands, strict=True)
        if stored[place] in _ALIASES
        and stored[place] != name
        and all(numbers.get(name) != stored[place] for numbers in _SENSORS.values())
    )
    chosen = wanted or user_bands
    return BandChoice(tuple(places[user_bands.index(name)] for name in chosen), chosen, notes)


def _listed(stored: Sequence[str]) -> str:
    if not any(stored):
        return f'{len(stored)} bands without names'
    return ', '.join(name or f'an unnamed band ({i})' for i, name in enumerate(stored, 1))

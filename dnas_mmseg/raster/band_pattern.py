"""Scenes with one file per band, found by a pattern such as ``scenes/{name}_{band}.tif``."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from dnas_mmseg.bands import band_name, find_sensor

from ._gdal import RasterError
from .reading import Raster
from .scene_files import BandSource, MultiFileScene

_BAND = '{band}'
_PARTS = re.compile(r'(\{band\}|\{name\}|\*\*|\*|\?|\[[^\]]+\])')


def is_band_pattern(text: str) -> bool:
    """Return whether a path is a pattern of band files, and not an existing file."""
    return _BAND in text and not os.path.exists(text)


def pattern_scenes(pattern: str | os.PathLike) -> list[MultiFileScene]:
    """Return the scenes of a pattern with one file per band.

    Args:
        pattern: Path with ``{band}`` at the name or number of the band. It may contain ``{name}``
            at the name of the scene, and wildcards (``*``, ``?``, ``[...]``). Each distinct rest of
            a path is a scene, named by ``{name}``, else by the file name without the band, else by
            the folder.

    Returns:
        Scenes, sorted by path. Numbers of bands are resolved if the sensor is known
        (:func:`dnas_mmseg.bands.find_sensor`); otherwise they stay ``b1``, ``b2``, ...

    Raises:
        RasterError: Nothing matches, a file has several bands, or two files have the same band.

    Example:
        >>> from dnas_mmseg.raster import write_raster
        >>> import numpy as np
        >>> for band in ('red', 'nir'):
        ...     write_raster(f's1_{band}.tif', np.ones((1, 8, 8), np.uint8))
        >>> [(scene.name, sorted(scene.bands)) for scene in pattern_scenes('{name}_{band}.tif')]
        [('s1', ['nir', 'red'])]
    """
    text = os.fspath(pattern)
    if text.count(_BAND) != 1 or text.count('{name}') > 1:
        raise RasterError(f'{text}: expected {_BAND} once, and {{name}} at most once')
    wildcard = text.replace(_BAND, '*').replace('{name}', '*')
    matcher = re.compile(''.join(map(_expression, _PARTS.split(text))))
    groups: dict[str, list[tuple[str, re.Match]]] = {}
    for path in sorted(glob.glob(wildcard, recursive=True)):
        match = matcher.fullmatch(path)
        if match and os.path.isfile(path):
            start, end = match.span('band')
            groups.setdefault(path[:start] + _BAND + path[end:], []).append((path, match))
    if not groups:
        raise RasterError(
            f'{text}: no files match; expected one file per band, with its name or number at '
            f'{_BAND}'
        )
    return [_scene(rest, files) for rest, files in groups.items()]


def _expression(part: str) -> str:
    """Return the regular expression of a part of a pattern."""
    known = {
        _BAND: '(?P<band>[^/]+?)',
        '{name}': '(?P<name>[^/]+)',
        '**': '.*',
        '*': '[^/]*',
        '?': '[^/]',
    }
    if part in known:
        return known[part]
    return part.replace('[!', '[^') if part.startswith('[') else re.escape(part)


def _scene(rest: str, files: list[tuple[str, re.Match]]) -> MultiFileScene:
    tokens = {path: match['band'] for path, match in files}
    # '04' is a number without a sensor, unlike 'B04', which only Sentinel-2 has.
    words = {path: f'b{int(t)}' if t.isdigit() else t for path, t in tokens.items()}
    sensor = find_sensor(words.values(), Path(rest).name)
    bands: dict[str, BandSource] = {}
    for path, word in words.items():
        name = band_name(word, sensor)
        if name in bands:
            raise RasterError(
                f'{rest}: two files of the band {name} ({bands[name].path}, {path}); expected one; '
                'move one of them'
            )
        with Raster(path) as raster:
            found = raster.info.data_bands
        if len(found) != 1:
            raise RasterError(f'{path}: {len(found)} bands, expected one file per band in {rest}')
        bands[name] = BandSource(os.path.abspath(path), found[0] + 1)
    name = files[0][1].groupdict().get('name') or _name(rest)
    return MultiFileScene(name, rest, 'one file per band', bands, sensor)


def _name(rest: str) -> str:
    """Return the file name without band and suffix, or the name of the folder."""
    name = re.sub(r'[ _.-]*\{band\}', '', Path(rest).stem).strip(' _.-')
    return name or Path(rest).absolute().parent.name

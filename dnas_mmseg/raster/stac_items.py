"""Scenes of STAC items: bands by name, scale and nodata, quality band, filters."""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from dnas_mmseg.bands import ALPHA, COMMON_NAMES, band_name, find_sensor
from dnas_mmseg.extras import require

from ._gdal import RasterError
from .scene_files import BandSource, InvalidScene, MultiFileScene, QualityBand
from .stac_catalogs import ItemDocument, find_items, gdal_path, resolve_href

_OTHER_ROLES = {'metadata', 'overview', 'thumbnail', 'tiles'}
_OTHER_TYPES = ('application/json', 'application/geo+json', 'application/xml', 'text/')
_RENDERED = re.compile(r'(visual|tci|true[-_ ]?colou?r|rendered|preview)(?![a-z])', re.I)
"""Keys of assets with colours for display, which have the names of bands."""

_QUALITY = re.compile(r'(scl|qa_?pixel|fmask)(?:[-_](?:jp2|\d+m))?', re.I)
_QUALITY_NAMES = {'scl': 'SCL', 'qapixel': 'QA_PIXEL', 'fmask': 'Fmask'}
_INSTRUMENT = re.compile(r'(?:oli|tirs|tm|etm|mss|sr|st)_(?=b\d)', re.I)
"""Prefix of the band numbers of Landsat items, such as ``OLI_B5``."""

_OFFSET_APPLIED = 'earthsearch:boa_offset_applied'
"""Property of items whose samples have the offset that their bands still declare."""


@dataclass(frozen=True)
class ItemScenes:
    """Scenes of STAC items.

    Attributes:
        scenes: Scenes of the selected items.
        invalid: Items that cannot be used.
        notes: How many items were not selected, and why.
    """

    scenes: list[MultiFileScene]
    invalid: list[InvalidScene]
    notes: list[str]


def read_items(
    source: str | os.PathLike, *, max_cloud_cover: float | None = None, period: str = ''
) -> ItemScenes:
    """Return the scenes of STAC items (1.0 and 1.1).

    Assets are found by the names of their bands, one or several bands an asset. Names are those of
    band numbers of the item's sensor, else common names, else the names in the item. Thumbnails,
    overviews and metadata are ignored, and renderings such as ``visual`` unless there is nothing
    else. Of several assets with the same band, the one with role ``data``, then the finest, then
    the GeoTIFF is used. Scale, offset and nodata of an item override those of its files.

    Args:
        source: Path, URL or GDAL path of an item, an item collection, a static catalogue or
            collection, or the address of a search; or a folder of items. Links to further pages of
            a search are followed.
        max_cloud_cover: Largest ``eo:cloud_cover`` in percent. Items without it are not selected.
        period: ``'2023-05-01/2023-09-30'``, inclusive, or a single day; an end may be ``'..'``.
            Items that have an interval are selected if it overlaps.

    Returns:
        Scenes, invalid items, and notes. :func:`dnas_mmseg.mapping.scenes.predict_scenes` accepts
        scenes and invalid items; it reports the latter.

    Raises:
        RasterError: The source cannot be read or contains no items, no item is selected, or a
            filter is invalid.
        UserError: pystac is not installed.

    Example:
        >>> found = read_items('items.json', max_cloud_cover=20)  # doctest: +SKIP
        >>> found.scenes[0].name, list(found.scenes[0].bands)[:3]  # doctest: +SKIP
        ('S2B_32TQM_20230615_0_L2A', ['blue', 'green', 'red'])
    """
    pystac = require('pystac', 'stac')
    if max_cloud_cover is not None and not 0 <= max_cloud_cover <= 100:
        raise RasterError(f'cloud cover {max_cloud_cover:g}: expected 0 to 100 percent')
    filters = _Filters(max_cloud_cover, *_parse_period(period))
    scenes: list[MultiFileScene] = []
    invalid: list[InvalidScene] = []
    sources: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for document in find_items(source):
        try:
            item = _parse_item(pystac, document)
            reason = filters.reason(item)
            if reason:
                left_out[reason] += 1
                continue
            scene = _scene(item, document)
            first = sources.setdefault(scene.name, document.source)
            if first != document.source:
                raise RasterError(
                    f"{document.source}: the id '{item.id}' is also that of {first}; expected "
                    'unique ids, since maps are named after them; remove one of the items'
                )
            scenes.append(scene)
        except RasterError as error:
            invalid.append(InvalidScene(document.source, error))
    total = len(scenes) + len(invalid) + left_out.total()
    reasons = ', '.join(f'{count} {reason}' for reason, count in left_out.items())
    if not total:
        raise RasterError(f'{source}: no STAC items; expected at least one')
    if not scenes and not invalid:
        raise RasterError(
            f'{source}: none of {total} items is selected ({reasons}); relax the filters '
            '(`max_cloud_cover`, `period`; --cloud-cover, --period)'
        )
    selected = total - left_out.total()
    notes = [f'{source}: {selected} of {total} items selected ({reasons})'] if left_out else []
    return ItemScenes(scenes, invalid, notes)


class _Filters(NamedTuple):
    max_cloud_cover: float | None
    start: datetime | None
    end: datetime | None

    def reason(self, item: Any) -> str:
        """Return why an item is not selected; empty if it is."""
        first, last = _interval(item)
        if (self.end and first > self.end) or (self.start and last < self.start):
            return 'outside the period'
        if self.max_cloud_cover is None:
            return ''
        cover = item.properties.get('eo:cloud_cover')
        if not isinstance(cover, (int, float)) or not math.isfinite(cover):
            return 'without eo:cloud_cover'
        limit = self.max_cloud_cover
        return f'above {limit:g} % cloud cover' if cover > limit else ''


def _parse_period(text: str) -> tuple[datetime | None, datetime | None]:
    """Return start and end of a period, both inclusive; None where it is open.

    Raises:
        RasterError: The text is not a period, or the start is later than the end.
    """
    if not text:
        return None, None
    first, separator, last = text.partition('/')
    try:
        start = _parse_end(first, is_last=False)
        end = _parse_end(last if separator else first, is_last=True)
    except ValueError:
        start = end = None
    if (start is None and end is None) or (start and end and start > end):
        raise RasterError(
            f"period '{text}': expected start/end such as 2023-05-01/2023-09-30, 2023-05-01/.. or "
            '2023-05-01'
        )
    return start, end


def _parse_end(text: str, *, is_last: bool) -> datetime | None:
    if text.strip() in ('', '..'):
        return None
    text = text.strip()
    time = datetime.fromisoformat(re.sub('[zZ]$', '+00:00', text))
    if is_last and len(text) <= 10:
        time += timedelta(days=1, microseconds=-1)
    return _to_utc(time)


def _to_utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        return time.replace(tzinfo=timezone.utc)
    return time.astimezone(timezone.utc)


def _interval(item: Any) -> tuple[datetime, datetime]:
    """Return first and last time of an item."""
    times = item.common_metadata
    first = times.start_datetime or item.datetime
    last = times.end_datetime or item.datetime
    return _to_utc(first or last), _to_utc(last or first)


def _parse_item(pystac: Any, document: ItemDocument) -> Any:
    """Return an item of pystac, migrated to its version of STAC.

    Raises:
        RasterError: The document could not be read, or is not a valid item.
    """
    content = document.content
    if isinstance(content, RasterError):
        raise content
    try:
        item = pystac.Item.from_dict(content, preserve_dict=False)
        _interval(item)
    except (pystac.STACError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(document, error) from error
    return item


def _invalid(document: ItemDocument, error: Exception) -> RasterError:
    return RasterError(
        f'{document.source}: not a valid STAC item ({type(error).__name__}: {error}); expected one '
        'of version 1.0 or 1.1'
    )


@dataclass(frozen=True)
class _Band:
    """Band of an asset.

    Attributes:
        key: Key of the asset.
        own: Its own name, normalized with the sensor.
        common: Its common name, or the same.
        rank: Preference among assets with the same band; the lowest is used.
        source: The band.
    """

    key: str
    own: str
    common: str
    rank: tuple[float, ...]
    source: BandSource


def _scene(item: Any, document: ItemDocument) -> MultiFileScene:
    """Return the scene of an item.

    Raises:
        RasterError: No asset has bands, two have the same band, or their metadata are invalid.
    """
    sensor = _sensor(item)
    bands: list[_Band] = []
    rendered: list[_Band] = []
    quality: list[_Band] = []
    try:
        for key, asset in item.assets.items():
            if _is_other(asset):
                continue
            match = _QUALITY.fullmatch(key)
            if match:
                name = _QUALITY_NAMES[match[1].lower().replace('_', '')]
                path = gdal_path(resolve_href(asset.href, document.base))
                quality.append(_Band(key, name, name, _rank(asset), BandSource(path)))
                continue
            is_rendered = 'visual' in (asset.roles or ()) or _RENDERED.match(key)
            found = _asset_bands(key, asset, sensor, document.base)
            (rendered if is_rendered else bands).extend(found)
        chosen = _choose(bands or rendered)
        masks = _choose(quality)
    except RasterError as error:
        raise RasterError(f'{document.source}: {error}') from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(document, error) from error
    if not chosen:
        keys = ', '.join(item.assets) or 'none'
        raise RasterError(
            f'{document.source}: no asset with named bands (assets: {keys}); expected bands or '
            'eo:bands with names, or keys such as red and B04'
        )
    if item.properties.get(_OFFSET_APPLIED) is True:
        chosen = {name: _without_offset(source) for name, source in chosen.items()}
    first, _ = _interval(item)
    return MultiFileScene(
        name=re.sub(r'[^\w.-]+', '_', str(item.id)).lstrip('.') or 'item',
        source=document.source,
        product=f'STAC item of {item.collection_id}' if item.collection_id else 'STAC item',
        bands=chosen,
        sensor=sensor,
        quality=next(
            (QualityBand(name, band, name != 'SCL') for name, band in masks.items()), None
        ),
        acquired=first.strftime('%Y-%m-%d %H:%M:%S'),
    )


def _sensor(item: Any) -> str:
    """Return the sensor of band numbers, see :func:`dnas_mmseg.bands.find_sensor`."""
    names = item.properties.get('instruments')
    instruments = [str(name).lower() for name in names] if isinstance(names, list) else []
    if 'mss' in instruments or str(item.id).startswith('LM0'):
        return ''  # the multispectral scanner of Landsat 4 and 5 has other numbers
    words = [item.properties.get(key) for key in ('constellation', 'platform')]
    text = ' '.join(str(word) for word in (*words, *instruments) if word)
    return find_sensor((), text) or find_sensor((), f'{item.collection_id or ""} {item.id}')


def _is_other(asset: Any) -> bool:
    """Return whether an asset is no data by its roles or its media type."""
    roles = {str(role).lower() for role in asset.roles or ()}
    return bool(roles & _OTHER_ROLES) or str(asset.media_type or '').startswith(_OTHER_TYPES)


def _rank(asset: Any) -> tuple[float, ...]:
    """Return the preference of an asset: data first, then the finest, then GeoTIFF."""
    fields = asset.extra_fields
    details = next(iter(_records(fields, 'raster:bands')), {})
    sizes = (
        fields.get('gsd'), fields.get('raster:spatial_resolution'),
        details.get('spatial_resolution'),
    )  # fmt: skip
    size = next((float(s) for s in sizes if isinstance(s, (int, float))), math.inf)
    kind = str(asset.media_type or asset.href.partition('?')[0]).lower()
    return 'data' not in (asset.roles or ()), size, not re.search(r'tiff|\.tif$', kind)


def _asset_bands(key: str, asset: Any, sensor: str, base: str) -> list[_Band]:
    """Return the bands of an asset that have names, without alpha bands.

    Raises:
        RasterError: Names and values of bands differ in number, a value is not a number, or the
            URL is not supported.
    """
    fields = asset.extra_fields
    named = _records(fields, 'bands') or _records(fields, 'eo:bands')
    values = _records(fields, 'raster:bands')
    if not named and len(values) <= 1:
        # A single band without a name: its asset may have the name.
        own = _normalize(key, sensor)
        if 'eo:common_name' not in fields and own not in COMMON_NAMES:
            return []
        named = [{}]
    if values and len(values) != len(named):
        raise RasterError(
            f"asset '{key}': {len(named)} bands have names, {len(values)} have values "
            '(raster:bands); expected equal numbers'
        )
    path = gdal_path(resolve_href(asset.href, base))
    result = []
    for number, band in enumerate(named, 1):
        single = key if len(named) == 1 else f'b{number}'
        own = _normalize(str(band.get('name') or single), sensor)
        common = _common_name({**fields, **band}, sensor) or own
        if ALPHA in (own, common):
            continue
        record = {**fields, **band, **(values[number - 1] if values else {})}
        source = _source(path, number, record, f"asset '{key}', band {number}")
        result.append(_Band(key, own, common, _rank(asset), source))
    return result


def _records(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects.

    Raises:
        RasterError: It is something else.
    """
    records = fields.get(key) or []
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise RasterError(f'{key}: expected a list of objects')
    return records


def _common_name(band: dict[str, Any], sensor: str) -> str:
    """Return the common name of a band; empty if it has none."""
    word = str(band.get('eo:common_name') or band.get('common_name') or '')
    if not word and str(band.get('description', '')).isalpha():
        word = str(band['description'])  # as written by rio-stac
    name = _normalize(word, sensor)
    return name if name in COMMON_NAMES else ''


def _normalize(text: str, sensor: str) -> str:
    """Return :func:`dnas_mmseg.bands.band_name` of a name in an item."""
    name = band_name(_INSTRUMENT.sub('', text), sensor)
    # The items of Landsat call its only near infrared nir08.
    return 'nir' if name == 'nir08' and sensor.startswith('Landsat') else name


def _source(path: str, number: int, record: dict[str, Any], where: str) -> BandSource:
    scale, offset, nodata = (
        _number(next((record[key] for key in keys if record.get(key) is not None), None), where)
        for keys in (('raster:scale', 'scale'), ('raster:offset', 'offset'), ('nodata',))
    )
    if scale is not None or offset is not None:
        scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
    if scale == 0 or not all(math.isfinite(value) for value in (scale or 1, offset or 0)):
        raise RasterError(f'{where}: scale {scale} and offset {offset}, expected finite numbers')
    return BandSource(path, number, scale, offset, nodata)


def _number(value: object, where: str) -> float | None:
    """Return a number, which may be one of the words ``nan``, ``inf`` and ``-inf``."""
    if value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise RasterError(f"{where}: '{value}', expected a number") from None


def _without_offset(source: BandSource) -> BandSource:
    offset = None if source.offset is None else 0.0
    return BandSource(source.path, source.band, source.scale, offset, source.nodata)


def _choose(bands: Sequence[_Band]) -> dict[str, BandSource]:
    """Return the source of each band by name, in the order of the assets.

    Raises:
        RasterError: Two assets have the same band.
    """
    groups: defaultdict[str, list[_Band]] = defaultdict(list)
    for band, name in zip(bands, _unique_names(bands), strict=True):
        groups[name].append(band)
    chosen = {}
    for name, group in groups.items():
        first, *others = sorted(group, key=lambda band: band.rank)
        if others and others[0].rank == first.rank:
            keys = f"assets '{first.key}' and '{others[0].key}'"
            where = f"asset '{first.key}' twice" if first.key == others[0].key else keys
            raise RasterError(
                f'band {name} is in {where}; expected one with role data, the finest resolution, '
                'or the type of a GeoTIFF; remove the other from the item'
            )
        chosen[name] = first.source
    return chosen


def _unique_names(bands: Iterable[_Band]) -> list[str]:
    """Return a name of each band: its own if that is common, else a common name that is unique.

    Common names of version 1 of the eo extension are shared by bands, as ``rededge`` is.
    """
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for band in bands:
        owners[band.common].add(band.own)
    return [
        band.own if band.own in COMMON_NAMES or len(owners[band.common]) > 1 else band.common
        for band in bands
    ]

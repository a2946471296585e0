"""Documents of STAC catalogues: items of files, folders, item collections and catalogues."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from ._gdal import RasterError, gdal
from .scene_files import read_text

_URL = re.compile(r'([A-Za-z][A-Za-z0-9+.-]+)://(.*)', re.S)
_VSI = re.compile(r'(/vsi\w+/)(.*)', re.S)
_BUCKETS = {'s3': '/vsis3/', 'gs': '/vsigs/', 'az': '/vsiaz/'}
_WEB = ('http', 'https', 'ftp')
_SUFFIXES = ('.json', '.geojson')


class ItemDocument(NamedTuple):
    """JSON document of an item.

    Attributes:
        source: Path or URL of the item; in a collection, its id follows ``#``, or its position if
            another item has the same id.
        base: Path or URL to which its references are relative.
        content: The document, or the reason why it cannot be read.
    """

    source: str
    base: str
    content: dict[str, Any] | RasterError


def find_items(source: str | os.PathLike) -> Iterator[ItemDocument]:
    """Yield the items of a STAC document, in its order.

    Documents are read through GDAL, so its network settings and credentials apply. A document that
    a catalogue links to and that cannot be read is yielded as an error.

    Args:
        source: Path, URL or GDAL path of an item, an item collection, a static catalogue or
            collection, or the address of a search; or a folder, of which all items and item
            collections are read.

    Raises:
        RasterError: The source cannot be read, contains no items, or is the address of an API, the
            items of which are countless.
    """
    location = _location(os.fspath(source))
    names = _list_folder(location)
    if names is None:
        yield from _walk(location)
        return
    count = 0
    for name in names:
        for item in _items_of_file(f'{location.rstrip("/")}/{name}'):
            count += 1
            yield item
    if not count:
        raise RasterError(
            f'{source}: a folder without STAC items; expected *.json of items or item collections; '
            'of a catalogue in subfolders, set its catalog.json or collection.json'
        )


def gdal_path(href: str) -> str:
    """Return the GDAL path of a URL; other paths are returned unchanged.

    Raises:
        RasterError: GDAL has no access to URLs of this scheme.

    Example:
        >>> gdal_path('s3://bucket/B04.tif'), gdal_path('https://host/B04.tif?token=a%2Fb')
        ('/vsis3/bucket/B04.tif', '/vsicurl/https://host/B04.tif?token=a%2Fb')
    """
    match = _URL.fullmatch(href)
    if match is None:
        return href
    scheme = match[1].lower()
    if scheme in _WEB:
        return f'/vsicurl/{href}'
    if scheme in _BUCKETS:
        return _BUCKETS[scheme] + match[2]
    if scheme == 'file':
        return unquote(urlsplit(href).path)
    known = ', '.join((*_WEB, *_BUCKETS, 'file'))
    raise RasterError(f'{href}: URLs of {scheme}:// are not supported; expected {known}')


def resolve_href(href: str, base: str) -> str:
    """Return a reference of a document as an absolute path or URL, with its query.

    Args:
        href: Relative or absolute reference.
        base: Path or URL of the document.

    Example:
        >>> resolve_href('../B04.tif?sig=1', 's3://bucket/a/b/item.json')
        's3://bucket/a/B04.tif?sig=1'
    """
    if _URL.fullmatch(href) or href.startswith('/vsi'):
        return href
    url, vsi = _URL.fullmatch(base), _VSI.fullmatch(base)
    if url is not None:
        # urljoin resolves relative paths of known schemes only.
        absolute = urljoin(f'http://{url[2]}', href)
        return url[1] + absolute.removeprefix('http')
    prefix, path = ('', base) if vsi is None else (vsi[1], vsi[2])
    return prefix + posixpath.normpath(posixpath.join(posixpath.dirname(path), href))


def _location(source: str) -> str:
    """Return an absolute path or a URL."""
    if source.startswith('/vsicurl/'):
        return source.removeprefix('/vsicurl/')
    if _URL.fullmatch(source) or source.startswith('/vsi'):
        return source
    return os.path.abspath(source)


def _list_folder(location: str) -> list[str] | None:
    """Return the names of the JSON files in a folder, sorted; None if it is a document."""
    url = _URL.fullmatch(location)
    if (url is not None and url[1].lower() in _WEB) or urlsplit(location).path.endswith(_SUFFIXES):
        return None
    path = gdal_path(location)
    stat = gdal.VSIStatL(path)
    if stat is None or not stat.IsDirectory():
        return None
    return sorted(name for name in gdal.ReadDir(path) or () if name.endswith(_SUFFIXES))


def _items_of_file(location: str) -> list[ItemDocument]:
    """Return the items of a file in a folder, which may contain other JSON files, too."""
    try:
        document = _read(location)
        if _is_feature(document) or document.get('type') == 'FeatureCollection':
            return _expand(document, location)[0]
    except RasterError as error:
        return [ItemDocument(location, location, error)]
    return []


def _walk(start: str) -> Iterator[ItemDocument]:
    """Yield the items of a document and of all documents to which it links."""
    todo, seen = [start], {start}
    while todo:
        location = todo.pop()
        try:
            items, links = _expand(_read(location), location)
        except RasterError as error:
            if location == start:
                raise
            yield ItemDocument(location, location, error)
            continue
        yield from items
        new = [link for link in dict.fromkeys(links) if link not in seen]
        seen.update(new)
        todo += reversed(new)


def _read(location: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        RasterError: The file cannot be read, or is not a JSON object.
    """
    path = gdal_path(location)
    if path.startswith('/vsicurl/'):
        # Servers of APIs support neither HEAD nor ranges, which random access requires.
        path = path.replace('/vsicurl/', '/vsicurl_streaming/', 1)
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RasterError(f'{location}: not valid JSON ({error}); download it again') from error
    if not isinstance(document, dict):
        raise RasterError(
            f'{location}: a JSON {type(document).__name__}, expected a STAC item, item collection '
            'or catalogue'
        )
    return document


def _expand(document: dict[str, Any], location: str) -> tuple[list[ItemDocument], list[str]]:
    """Return the items in a document, and the documents that continue it.

    Raises:
        RasterError: It is no STAC document, that of an API, or one page of several.
    """
    kind = document.get('type')
    if _is_feature(document):
        return [ItemDocument(location, location, document)], []
    if kind == 'FeatureCollection':
        return _features(document, location), _next_page(document, location)
    if kind in ('Catalog', 'Collection') or (kind is None and 'stac_version' in document):
        links = _links(document)
        if 'conformsTo' in document or any(link['rel'] in ('items', 'search') for link in links):
            raise RasterError(
                f'{location}: a catalogue of a STAC API, expected items; save the items of a '
                'search as JSON (pystac-client: search.item_collection().save_object), or set the '
                'address of a search'
            )
        found = [link['href'] for link in links if link['rel'] in ('item', 'child')]
        return [], [resolve_href(href, location) for href in found]
    raise RasterError(
        f"{location}: not STAC (its type is '{kind}'); expected an item (Feature), item collection "
        '(FeatureCollection), Catalog or Collection'
    )


def _is_feature(document: dict[str, Any]) -> bool:
    """Return whether a JSON document is a feature with assets, as only items are."""
    return document.get('type') == 'Feature' and 'assets' in document


def _features(document: dict[str, Any], location: str) -> list[ItemDocument]:
    """Return the items of an item collection."""
    features = document.get('features')
    if not isinstance(features, list):
        raise RasterError(f'{location}: a FeatureCollection without a list of features')
    items: dict[str, ItemDocument] = {}
    for number, feature in enumerate(features, 1):
        name = feature.get('id') if isinstance(feature, dict) else None
        source = f'{location}#{name or number}'
        if source in items:
            source = f'{location}#{number}'
        if not isinstance(feature, dict) or not _is_feature(feature):
            error = RasterError(f'{source}: not a STAC item; expected a Feature with assets')
            items[source] = ItemDocument(source, location, error)
            continue
        own = [link['href'] for link in _links(feature) if link['rel'] == 'self']
        base = next((href for href in own if _URL.fullmatch(href)), location)
        items[source] = ItemDocument(source, base, feature)
    return list(items.values())


def _next_page(document: dict[str, Any], location: str) -> list[str]:
    """Return the address of the next page of a search.

    Raises:
        RasterError: There is one, but the first page is a file, or the address does not contain the
            query.
    """
    pages = [link for link in _links(document) if link['rel'] == 'next']
    if not pages:
        return []
    address = resolve_href(pages[0]['href'], location)
    url = _URL.fullmatch(location)
    if url is None or pages[0].get('method', 'GET') != 'GET':
        raise RasterError(
            f"{location}: one page of a search; its link 'next' refers to further items. Save all "
            'items (pystac-client: search.item_collection().save_object), or remove the link to '
            'use this page only'
        )
    return [address]


def _links(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the links with a relation and a reference."""
    links = document.get('links')
    return [
        link
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict)
        and isinstance(link.get('rel'), str)
        and isinstance(link.get('href'), str)
    ]

"""STAC items of class maps and models, and collections of maps, written with pystac."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.errors import UserError
from dnas_mmseg.extras import require
from dnas_mmseg.files import write_json
from dnas_mmseg.raster import Raster, RasterInfo

from .exported import INPUT, OUTPUT
from .model_card import ModelMetadata

ITEM_SUFFIX = '.stac.json'
"""Suffix of the items of maps, next to the maps."""

_COLLECTION = 'collection.json'
_PROCESSOR = 'dnas_mmseg'
"""Provider of the collections that this module writes; other collections are not overwritten."""

_CHUNK = 2**22
_SPDX = re.compile(r'[\w.+-]+')
"""Syntax of an SPDX licence identifier."""


def write_map_item(
    path: str | os.PathLike,
    class_map: str | os.PathLike,
    scene: RasterInfo,
    classes: ClassScheme,
    collection: str = '',
) -> list[str]:
    """Write the STAC item of a class map: footprint, projection, classes, band and checksum.

    Args:
        path: Path of the item, ending in ``.json``.
        class_map: Path of the map.
        scene: Metadata of the mapped scene, with its acquisition time.
        classes: Names and colours of the classes.
        collection: Id of the collection in the folder of the item (:func:`write_collection`); empty
            for an item without one.

    Returns:
        Notes on missing metadata, one line each.

    Raises:
        UserError: pystac is not installed.
    """
    pystac = require('pystac', 'stac')
    from pystac.extensions.classification import ClassificationExtension
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.raster import DataType, RasterBand, RasterExtension

    path, class_map = Path(path), Path(class_map)
    with Raster(class_map) as raster:
        info = raster.info
    place, notes = info.georeference, []
    found = place.footprint(*info.shape)
    outline: dict[str, Any] = dict(geometry=None, bbox=None)
    if found is not None:
        outline = dict(geometry=found[0], bbox=list(found[1]))
    elif place.transform is not None and place.crs:
        notes.append(
            f'{path.name}: the footprint cannot be projected to WGS84, so the item has no geometry'
        )
    elif place.is_defined:
        notes.append(
            f'{path.name}: the scene is georeferenced by control points or RPCs only, so the item '
            'has no geometry'
        )
    else:
        notes.append(f'{path.name}: the scene has no georeference, so the item has no geometry')
    acquired = _parse_time(scene.acquired)
    written = datetime.fromtimestamp(class_map.stat().st_mtime, timezone.utc)
    if acquired is None:
        notes.append(
            f'{path.name}: the scene has no acquisition time; the item has the time of the map'
        )
    if _reference(class_map.name) != class_map.name:
        notes.append(
            f"{path.name}: the name of the map contains '#' or '?', so not all readers of STAC "
            'find it; rename the scene'
        )
    item = pystac.Item(
        id=class_map.stem,
        datetime=acquired or written,
        properties={'created': pystac.utils.datetime_to_str(written)},
        **outline,
    )
    asset = pystac.Asset(
        href=_reference(os.path.relpath(class_map, path.parent)),
        title='class map',
        media_type=pystac.MediaType.COG,
        roles=['data', 'classification'],
    )
    item.add_asset('map', asset)
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    transform = place.transform
    projection.apply(
        code=None if place.epsg is None else f'EPSG:{place.epsg}',
        wkt2=place.wkt2 or None if place.epsg is None else None,
        shape=list(info.shape),
        # Affine order of the extension; GDAL's geotransform has the offsets first.
        transform=None if transform is None else [transform[i] for i in (1, 2, 0, 4, 5, 3)],
    )
    band = RasterBand.create(nodata=info.nodata[0], data_type=DataType.UINT8)
    RasterExtension.ext(asset, add_if_missing=True).apply([band])
    ClassificationExtension.ext(asset, add_if_missing=True).apply(_classes(classes))
    FileExtension.ext(asset, add_if_missing=True).apply(
        checksum=f'1220{_sha256(class_map)}', size=class_map.stat().st_size
    )
    document = item.to_dict(include_self_link=False)
    if collection:
        _link_to_collection(document, collection)
    write_json(path, document)
    return notes


def find_collection_id(folder: str | os.PathLike) -> str:
    """Return the id of the collection of maps in a folder; defaults to the name of the folder.

    Raises:
        UserError: ``collection.json`` exists and was not written by this package, or pystac is not
            installed.
    """
    require('pystac', 'stac')
    path = Path(folder) / _COLLECTION
    if not path.exists():
        return re.sub(r'[^\w.-]+', '-', path.resolve().parent.name).strip('-.') or 'maps'
    document = _read(path)
    providers = document.get('providers')
    names = [p.get('name') for p in providers or () if isinstance(p, dict)]
    if _PROCESSOR not in names or not isinstance(document.get('id'), str):
        raise UserError(
            f'{path} exists and is not a collection of maps: choose another --out-dir, or move the '
            'file'
        )
    return document['id']


def write_collection(folder: str | os.PathLike) -> Path | None:
    """Write the collection of all items of maps in a folder, ``collection.json``.

    It is self-contained: all links are relative. Items that do not link to it are rewritten.
    Processes that write maps to one folder may call it at the same time: it is written again until
    no items were added meanwhile, so the last one contains all.

    Args:
        folder: Folder of the maps, with items of :func:`write_map_item` next to them.

    Returns:
        Path of the collection; None if there are no items.

    Raises:
        UserError: ``collection.json`` or an item is another document, or pystac is not installed.
    """
    pystac = require('pystac', 'stac')
    path = Path(folder) / _COLLECTION
    name = find_collection_id(folder)
    written: set[Path] = set()
    while (found := set(path.parent.glob(f'*{ITEM_SUFFIX}'))) != written:
        members = [m for item in sorted(found) if (m := _read_member(item, name)) is not None]
        if members:
            write_json(path, _collection(pystac, name, members))
        written = found
    return path if written and members else None


class _Member(NamedTuple):
    """Item of a collection: file name, bounding box and time."""

    name: str
    bbox: list[float] | None
    time: datetime


def _read_member(path: Path, collection: str) -> _Member | None:
    """Return an item of a map, linked to its collection; None for other items."""
    document = _read(path)
    try:
        if 'map' not in document['assets']:
            return None
        time = datetime.fromisoformat(document['properties']['datetime'].replace('Z', '+00:00'))
        member = _Member(path.name, document.get('bbox'), time)
        if document.get('collection') != collection:
            _link_to_collection(document, collection)
            write_json(path, document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path}: not the item of a map ({type(error).__name__}: {error}); remove it, and '
            'resume (--resume)'
        ) from error
    return member


def _reference(path: str) -> str:
    """Return a relative path as a reference, in which ``#`` and ``?`` are delimiters.

    Other characters are unchanged, since pystac reads references to files without decoding them.
    """
    return path.replace('#', '%23').replace('?', '%3F')


def _link_to_collection(document: dict[str, Any], collection: str) -> None:
    """Set the collection of an item, and its links to the document."""
    relations = 'root', 'parent', 'collection'
    others = [link for link in document.get('links', ()) if link.get('rel') not in relations]
    link = dict(href=f'./{_COLLECTION}', type='application/json')
    document['links'] = [*(dict(rel=relation, **link) for relation in relations), *others]
    document['collection'] = collection


def _collection(pystac: Any, name: str, members: list[_Member]) -> dict[str, Any]:
    """Return the document of a collection, which covers its items in space and time."""
    times = [member.time for member in members]
    collection = pystac.Collection(
        id=name,
        description='Class maps of remote-sensing scenes',
        license='other',
        extent=pystac.Extent(
            pystac.SpatialExtent([_union([m.bbox for m in members if m.bbox])]),
            pystac.TemporalExtent([[min(times), max(times)]]),
        ),
        providers=[pystac.Provider(_PROCESSOR, roles=[pystac.ProviderRole.PROCESSOR])],
    )
    collection.item_assets = {
        'map': pystac.ItemAssetDefinition.create(
            title='class map',
            description=None,
            media_type=pystac.MediaType.COG,
            roles=['data', 'classification'],
        )
    }
    document = collection.to_dict(include_self_link=False)
    document['links'] = [
        dict(rel='root', href=f'./{_COLLECTION}', type='application/json'),
        *(
            dict(rel='item', href=f'./{_reference(m.name)}', type='application/geo+json')
            for m in members
        ),
    ]
    return document


def _union(boxes: list[list[float]]) -> list[float]:
    """Return the box around boxes of two dimensions: all longitudes if one crosses 180 degrees.

    Without boxes, it is the whole earth, since a collection must have an extent.
    """
    if not boxes:
        return [-180.0, -90.0, 180.0, 90.0]
    west, south, east, north = zip(*boxes, strict=True)
    crosses = any(w > e for w, e in zip(west, east, strict=True))
    return [
        -180.0 if crosses else min(west),
        min(south),
        180.0 if crosses else max(east),
        max(north),
    ]


def write_model_item(
    path: str | os.PathLike, model: str | os.PathLike, metadata: ModelMetadata
) -> None:
    """Write the STAC item of an exported model with the Machine Learning Model extension (MLM).

    Args:
        path: Path of the item, ending in ``.json``.
        model: Path of the exported model.
        metadata: Metadata of the model.

    Raises:
        UserError: pystac is not installed.
    """
    pystac = require('pystac', 'stac')
    from pystac.extensions import mlm
    from pystac.extensions.file import FileExtension

    path, model = Path(path), Path(model)
    shape = [-1, len(metadata.mean), metadata.window, metadata.window]
    order = ['batch', 'bands', 'y', 'x']
    kind = mlm.DataType.FLOAT32
    tasks = [mlm.TaskType.SEMANTIC_SEGMENTATION]
    item = pystac.Item(
        id=metadata.name,
        geometry=None,
        bbox=None,
        datetime=datetime.fromtimestamp(model.stat().st_mtime, timezone.utc),
        properties={
            'description': f'trained on: {metadata.data}; licence: {metadata.licence}',
            # STAC allows an SPDX identifier or 'other'.
            'license': metadata.licence if _SPDX.fullmatch(metadata.licence) else 'other',
        },
    )
    mlm.MLMExtension.ext(item, add_if_missing=True).apply(
        name=metadata.name,
        architecture=metadata.network,
        tasks=tasks,
        framework='ONNX' if model.suffix == '.onnx' else 'OpenVINO',
        total_parameters=metadata.parameters,
        input=[
            mlm.ModelInput.create(
                name=INPUT,
                bands=list(metadata.bands),
                input=mlm.InputStructure.create(shape=shape, dim_order=order, data_type=kind),
                description=f'samples {metadata.samples}; the model normalises them',
            )
        ],
        output=[
            mlm.ModelOutput.create(
                name=OUTPUT,
                tasks=tasks,
                result=mlm.ResultStructure.create(
                    shape=[-1, metadata.outputs, metadata.window, metadata.window],
                    dim_order=['batch', 'classes', 'y', 'x'],
                    data_type=kind,
                ),
                classes=_classes(metadata.scheme),
            )
        ],
        hyperparameters=None,
    )
    asset = pystac.Asset(
        href=os.path.relpath(model, path.parent), title=metadata.name, roles=['mlm:model', 'data']
    )
    item.add_asset('model', asset)
    FileExtension.ext(asset, add_if_missing=True).apply(
        checksum=f'1220{_sha256(model)}', size=model.stat().st_size
    )
    write_json(path, item.to_dict(include_self_link=False))


def _classes(classes: ClassScheme) -> list:
    from pystac.extensions.classification import Classification

    return [
        Classification.create(
            value=value,
            # The extension restricts names to letters, digits, '-' and '_'.
            name=re.sub('[^0-9A-Za-z_-]+', '-', name).strip('-') or f'class-{value}',
            title=name,
            color_hint=''.join(f'{int(part):02X}' for part in colour),
        )
        for value, (name, colour) in enumerate(classes)
    ]


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        UserError: The file is something else.
    """
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{path}: not valid JSON ({error}); remove it') from error
    if not isinstance(document, dict):
        raise UserError(f'{path}: a JSON {type(document).__name__}, expected an object; remove it')
    return document


def _parse_time(acquired: str) -> datetime | None:
    try:
        return datetime.strptime(acquired[:19], '%Y-%m-%d %H:%M:%S').replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256; the prefix 1220 turns it into a multihash."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

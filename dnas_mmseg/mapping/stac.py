"""STAC items of class maps and models, written with pystac."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.extras import require
from dnas_mmseg.files import write_json
from dnas_mmseg.raster import Raster, RasterInfo

from .exported import INPUT, OUTPUT
from .model_card import ModelMetadata

_CHUNK = 2**22
_SPDX = re.compile(r'[\w.+-]+')
"""Syntax of an SPDX licence identifier."""


def write_map_item(
    path: str | os.PathLike,
    class_map: str | os.PathLike,
    scene: RasterInfo,
    classes: ClassScheme,
) -> list[str]:
    """Write the STAC item of a class map: footprint, projection, classes, band and checksum.

    Args:
        path: Path of the item, ending in ``.json``.
        class_map: Path of the map.
        scene: Metadata of the mapped scene, with its acquisition time.
        classes: Names and colours of the classes.

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
    item = pystac.Item(
        id=class_map.stem,
        datetime=acquired or written,
        properties={'created': pystac.utils.datetime_to_str(written)},
        **outline,
    )
    asset = pystac.Asset(
        href=os.path.relpath(class_map, path.parent),
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
    _write(item, path)
    return notes


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
    _write(item, path)


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


def _write(item: Any, path: Path) -> None:
    content = item.to_dict(include_self_link=False)
    write_json(path, content)


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

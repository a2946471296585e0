"""Label rasters on the grids of scenes, from polygons and from rasters on other grids."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelError, label_samples
from dnas_mmseg.files import file_states, write_json
from dnas_mmseg.raster import (
    Polygon,
    Raster,
    RasterInfo,
    Window,
    file_on_disk,
    find_empty_features,
    find_overlap,
    is_geodatabase,
    is_virtual,
    rasterize_polygons,
    read_polygons,
    row_windows,
    warp_classes,
    write_strips,
)
from dnas_mmseg.raster.vectors import OVERLAPS
from dnas_mmseg.raster.warping import RESAMPLINGS

from .scenes import Scene, sample_files

FOLDER = 'label_rasters'
"""Folder in a data root with the labels of scenes that are made here."""

_MIN_OVERLAP = 0.5
"""Smallest share of a scene that a label raster must cover: below, it is likely another scene's."""

_ROWS = 512
"""Rows per strip: one row of tiles of the written files."""


@dataclass(frozen=True)
class PolygonRules:
    """How polygons become the pixels of a label.

    Attributes:
        field: Field with class names or codes.
        layer: Name of the layer; required if the files have several.
        overlap: Rule for pixels in polygons of several classes: ``'error'``, ``'first'``,
            ``'last'``, or ``'priority:FIELD'`` for the highest value of a numeric field.
        all_touched: Whether every pixel that a polygon touches belongs to it; by default, those
            whose centres lie inside.
        area_of_interest: Vector file of the labelled area. Pixels outside are unlabelled, pixels
            inside that no polygon covers are ``background``.
        background: Class of uncovered pixels in the area of interest; empty for unlabelled.
    """

    field: str
    layer: str = ''
    overlap: str = 'error'
    all_touched: bool = False
    area_of_interest: str = ''
    background: str = ''

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS and not self.priority:
            raise DatasetError(
                f"overlap = '{self.overlap}': choose {', '.join(OVERLAPS)} or priority:FIELD"
            )
        if self.background and not self.area_of_interest:
            raise DatasetError(
                'a background class requires an area of interest (--area-of-interest): outside it '
                'nothing is known'
            )

    @property
    def priority(self) -> str:
        """Numeric field with the priorities; empty if there is none."""
        return self.overlap.removeprefix('priority:') if ':' in self.overlap else ''


def check_label_options(
    scenes: Sequence[Scene], rules: PolygonRules | None, resampling: str
) -> None:
    """Raise if rules or a resampling would have no effect.

    Args:
        scenes: All scenes.
        rules: How polygons become pixels; None if unset.
        resampling: Resampling of label rasters; empty if unset.

    Raises:
        DatasetError: Rules are set, but no label has polygons; or a resampling, but all have.
    """
    have_polygons = [scene.has_polygons for scene in scenes]
    if rules is not None and not any(have_polygons):
        raise DatasetError('--class-field does not apply: the labels are rasters')
    if resampling and all(have_polygons):
        raise DatasetError('--label-resampling does not apply: the labels are polygons')


def make_label_rasters(
    scenes: Sequence[Scene],
    out: str | os.PathLike,
    description: DatasetDescription,
    *,
    rules: PolygonRules | None = None,
    resampling: str = '',
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Scene], list[str]]:
    """Write the labels of scenes as train ids on the scenes' grids.

    Labels that an earlier run wrote from the same files with the same settings are reused.

    Args:
        scenes: Scenes whose labels are polygons or rasters on any grid.
        out: Data root; labels are written to its folder ``label_rasters``.
        description: Classes, and how labels encode them. The values of the polygons' field are
            those of ``label_values`` if there are any; else class names, or integers of
            ``label_convention``.
        rules: How polygons become pixels; required for polygons.
        resampling: Resampling of label rasters, ``'nearest'`` or ``'mode'``.
        advance: Callback with the number of finished and of all scenes.

    Returns:
        Scenes with the new labels, without those that no polygon or area of interest touches; and
        notes for the user, one line each.

    Raises:
        DatasetError: A field value or label value is no class, polygons of different classes
            overlap, a label raster covers less than half of a scene, or no scene has a label.
    """
    if not description.class_names:
        raise DatasetError('the classes are unknown: set classes or label_values in --facts')
    folder = Path(out) / FOLDER
    classes = ClassScheme.from_metainfo(description.metainfo)
    if resampling and resampling not in RESAMPLINGS:
        raise DatasetError(f"resampling = '{resampling}': choose {' or '.join(RESAMPLINGS)}")
    if rules is not None and rules.background and rules.background not in classes.names:
        raise DatasetError(
            f"background '{rules.background}' is not among the classes {', '.join(classes.names)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Scene] = []
    notes = _describe_empty({scene.label for scene in scenes if scene.has_polygons}, rules)
    for number, scene in enumerate(scenes, 1):
        path = folder / f'{scene.name}.tif'
        settings = _settings(scene, description, rules, resampling)
        record = path.with_suffix('.json')
        earlier = _load(record)
        if path.is_file() and earlier.get('settings') == settings:
            messages = earlier['notes']
        else:
            record.unlink(missing_ok=True)
            with Raster(scene.image) as raster:
                info = raster.info
            if not scene.has_polygons:
                messages = _warp_label(scene, info, path, classes, description, resampling)
            elif rules is None:
                raise DatasetError(
                    f'{scene.label}: polygons: --class-field names the field with the classes'
                )
            else:
                messages = _rasterize_label(scene, info, path, classes, description, rules)
            if path.is_file():
                write_json(record, {'settings': settings, 'notes': messages})
        notes += messages
        if path.is_file():
            found.append(replace(scene, label=path, is_vector_label=False))
        advance(number, len(scenes))
    if not found:
        raise DatasetError('\n'.join(['no scene has a label:', *notes[:8]]))
    return found, list(dict.fromkeys(notes))  # scenes with the same label have the same notes


def _describe_empty(labels: set[Path], rules: PolygonRules | None) -> list[str]:
    """Return notes on the features without geometry in vector files."""
    notes = []
    for path in sorted(labels):
        empty = find_empty_features(path, rules.layer if rules is not None else '')
        if empty:
            notes.append(
                f'{path}: {len(empty)} features without geometry are skipped, such as feature '
                f'{empty[0]}'
            )
    return notes


def _rasterize_label(
    scene: Scene,
    info: RasterInfo,
    path: Path,
    classes: ClassScheme,
    description: DatasetDescription,
    rules: PolygonRules,
) -> list[str]:
    """Write the label of a scene from polygons, unless none touches it; return notes."""
    path.unlink(missing_ok=True)
    polygons, notes = read_polygons(
        scene.label, info, layer=rules.layer, field=rules.field, priority=rules.priority
    )
    area: list[Polygon] = []
    if rules.area_of_interest:
        area, more = read_polygons(rules.area_of_interest, info)
        notes += more
        if not area:
            return [*notes, f'{scene.image}: skipped, outside {rules.area_of_interest}']
    elif not polygons:
        return [*notes, f'{scene.image}: skipped, no polygon of {scene.label} touches it']
    ids, more = _polygon_classes(polygons, scene.label, description, rules.field)
    notes += more
    # The last entry is that of pixels without a polygon, which have the index -1.
    table = np.array([*ids, IGNORE], np.uint8)
    if rules.background:
        table[-1] = classes.names.index(rules.background)
    strips = rasterize_polygons(
        polygons,
        info,
        classes=ids,
        all_touched=rules.all_touched,
        overlap=rules.overlap,
        name=os.fspath(scene.label),
    )
    inside = rasterize_polygons(area, info, all_touched=rules.all_touched)
    covering: set[int] = set()
    with _write_label(path, info, classes) as write:
        for window, owner in strips:
            covering.update(np.unique(owner).tolist())
            label = table[owner]
            if area:
                label[next(inside)[1] < 0] = IGNORE
            write(label[None], window.row_off)
    hidden = [polygon.fid for i, polygon in enumerate(polygons) if i not in covering]
    if hidden:
        notes.append(
            f'{scene.image}: {len(hidden)} polygons of {scene.label} have no pixel, such as '
            f'feature {hidden[0]}: they contain no pixel centre (--all-touched), or others cover '
            'them'
        )
    return notes


def _polygon_classes(
    polygons: Sequence[Polygon], path: Path, description: DatasetDescription, field: str
) -> tuple[list[int], list[str]]:
    """Return the train id of each polygon, 255 for unlabelled; and notes, one line each."""
    names = description.class_names
    known = {name: i for i, name in enumerate(names)}
    if description.label_values:
        known = {
            text: IGNORE if name is None else names.index(name)
            for text, name in description.label_values.items()
        }
    elif description.label_convention in ('index', 'train_id'):
        labels = LabelEncoding(description.label_convention, len(names))
        known |= {str(code): i for code, i in labels.codes.items()}
    others = [polygon.value for polygon in polygons if str(polygon.value) not in known]
    filled = [str(value) for value in others if value is not None and str(value).strip()]
    if filled:
        unknown = Counter(filled)
        listed = ', '.join(f"'{value}' ({n} features)" for value, n in unknown.most_common(5))
        more = ', ...' if len(unknown) > 5 else ''
        raise DatasetError(
            f"{path}: field '{field}' has the values {listed}{more}, expected "
            f'{", ".join(known)}: add VALUE=CLASS of each, or VALUE= for unlabelled, to '
            '--label-values of dnas init, or label_values to --facts of dnas convert'
        )
    has_empty = len(filled) < len(others)
    notes = [f"{path}: features without '{field}' are unlabelled"] if has_empty else []
    return [known.get(str(polygon.value), IGNORE) for polygon in polygons], notes


def _warp_label(
    scene: Scene,
    info: RasterInfo,
    path: Path,
    classes: ClassScheme,
    description: DatasetDescription,
    resampling: str,
) -> list[str]:
    """Write the label of a scene from a raster on any grid; return notes."""
    labels = description.labels
    if labels is None or not resampling:
        raise DatasetError(
            f'{scene.label}: a label raster requires --label-resampling, and label_convention or '
            'label_values in --facts'
        )
    with Raster(scene.label) as label:
        source = label.info
        window, share = find_overlap(source, info)
        if window is None or share < _MIN_OVERLAP:
            raise DatasetError(
                f'{scene.label}: it covers {100 * share:.0f} % of {scene.image}, expected at least '
                f'{100 * _MIN_OVERLAP:.0f} %: is it the label of another scene?'
            )
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            encoded, warped = Path(folder) / 'encoded.tif', Path(folder) / 'warped.tif'
            # Classes are merged before they are resampled, so that the mode is that of the classes.
            unknown = _encode(scene, label, window, labels, encoded, classes)
            warp_classes(encoded, info, warped, resampling)
            with Raster(warped) as result, _write_label(path, info, classes) as write:
                for strip in row_windows(info.height, info.width, _ROWS):
                    write(result.read(strip), strip.row_off)
    notes = [f'{scene.label}: resampled to the grid of its scene ({resampling})']
    if share < 1:
        notes.append(
            f'{scene.label}: it covers {100 * share:.0f} % of {scene.image}; the rest is unlabelled'
        )
    if unknown:
        total = window.width * window.height
        notes.append(
            f'{scene.label}: counted as unlabelled: {labels.describe_unknown(unknown, total)}'
        )
    return notes


def _encode(
    scene: Scene,
    label: Raster,
    window: Window,
    labels: LabelEncoding,
    path: Path,
    classes: ClassScheme,
    max_unknown: float = 0.001,
) -> Counter[str]:
    """Write the train ids of a part of a label; return the pixels of unknown values."""
    unknown: Counter[str] = Counter()
    part = replace(
        label.info,
        height=window.height,
        width=window.width,
        georeference=label.info.georeference.moved(window.row_off, window.col_off),
    )
    with _write_label(path, part, classes) as write:
        for rows in row_windows(window.height, window.width, _ROWS):
            strip = window._replace(row_off=window.row_off + rows.row_off, height=rows.height)
            try:
                ids, here = labels.encode_known(label_samples(label, labels, strip))
            except LabelError as error:
                raise DatasetError(f'{scene.label}: {error}') from None
            unknown.update(here)
            write(ids[None], rows.row_off)
    total = window.width * window.height
    if unknown.total() > max_unknown * total:
        raise DatasetError(f'{scene.label}: {labels.describe_unknown(unknown, total)}')
    return unknown


def _write_label(path: Path, info: RasterInfo, classes: ClassScheme) -> Any:
    """Return a writer of a label on a grid, see :func:`dnas_mmseg.raster.write_strips`."""
    return write_strips(
        path,
        height=info.height,
        width=info.width,
        nodata=IGNORE,
        georeference=info.georeference,
        classes=classes,
        resampling='MODE',
    )


def _settings(
    scene: Scene, description: DatasetDescription, rules: PolygonRules | None, resampling: str
) -> dict[str, Any]:
    """Return what determines a label, as JSON has it."""
    files = sample_files(scene.image)
    files += _vector_files(scene.label) if scene.has_polygons else sample_files(scene.label)
    if rules is not None and rules.area_of_interest:
        files += _vector_files(Path(rules.area_of_interest))
    settings = {
        'label': os.fspath(scene.label),
        'files': [[path, *state] for path, state in file_states(files).items()],
        'classes': list(ClassScheme.from_metainfo(description.metainfo)),
        'convention': description.label_convention,
        'values': description.label_values,
        'rules': rules and asdict(rules),
        'resampling': resampling,
    }
    return json.loads(json.dumps(settings))


def _vector_files(path: Path) -> list[Path]:
    """Return the files that determine the polygons of a vector file."""
    # It may be in an archive (/vsizip/fields.zip).
    file = file_on_disk(os.fspath(path)) if is_virtual(path) else path
    if file is None:
        return []
    if is_geodatabase(file):
        return sorted(part for part in file.iterdir() if part.suffix != '.lock')
    files = [file]
    # An open GeoPackage has its latest changes in a journal.
    files += [journal] if (journal := Path(f'{file}-wal')).is_file() else []
    if file.suffix.lower() in ('.mif', '.shp', '.tab'):  # fields and CRS are in other files
        files += sorted(file.parent.glob(f'{glob.escape(file.stem)}.*'))
    return files


def _load(path: Path) -> dict[str, Any]:
    """Return the record of an earlier label; empty if there is none."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}

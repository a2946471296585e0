"""``dataset.json``, the metadata of a folder of tiles."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_json

from .labels import LabelEncoding, resolve_label_values

DESCRIPTION_FILE = 'dataset.json'


class DatasetError(UserError):
    """A data set is unusable; the message names the location and the remedy."""


@dataclass(frozen=True)
class DatasetDescription:
    """Metadata of a data set, stored as ``dataset.json``; every field is optional.

    Attributes:
        bands: Band names in file order.
        classes: Class names in train-id order.
        palette: RGB colours of the classes, 0 to 255.
        label_convention: Label convention, see
            :class:`dnas_mmseg.datasets.labels.LabelEncoding`.
        label_values: Class name of each stored label value, instead of a convention; see
            :func:`dnas_mmseg.datasets.labels.resolve_label_values`.
        scene_values: Class name of each label value of the scenes that the tiles were cut from;
            the labels of the tiles are train ids.
        dtype: Name of the images' numpy type.
        tile_size: Height and width of the tiles, in pixels.
        mean, std: Mean and standard deviation per band over the training tiles, in sample units.
        class_shares: Share of each class in the labelled pixels of the training tiles.
        apply_scale: Whether the declared scale and offset were applied to the tiles; prediction
            must then apply them to the scenes as well.
        provenance: Origin of the tiles, in any form.

    Example:
        >>> DatasetDescription(bands=('red', 'nir'), classes=('land', 'water')).save('.')
        >>> DatasetDescription.load('.').metainfo
        {'bands': ('red', 'nir'), 'classes': ('land', 'water')}
    """

    bands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, ...], ...] = ()
    label_convention: str | None = None
    label_values: dict[str, str | None] = field(default_factory=dict)
    scene_values: dict[str, str | None] = field(default_factory=dict)
    dtype: str | None = None
    tile_size: tuple[int, int] | tuple[()] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_shares: tuple[float, ...] = ()
    apply_scale: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names: ``classes``, or else the names in ``label_values``; empty if unknown."""
        return self.classes or tuple(dict.fromkeys(filter(None, self.label_values.values())))

    @property
    def labels(self) -> LabelEncoding | None:
        """Encoding of the labels; None if unknown.

        Raises:
            LabelError: The palette or the label values are invalid.
        """
        names = self.class_names
        if self.label_values:
            _, values = resolve_label_values(self.label_values, names)
            return LabelEncoding('values', len(names), self.palette, values=values)
        if not names or self.label_convention is None:
            return None
        return LabelEncoding(self.label_convention, len(names), self.palette)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Part that mmseg data sets have as ``metainfo``."""
        values = {
            'bands': self.bands,
            'classes': self.class_names,
            'palette': self.palette,
            'apply_scale': self.apply_scale,
        }
        return {key: value for key, value in values.items() if value}

    def save(self, root: str | os.PathLike) -> None:
        """Write ``dataset.json`` into a folder."""
        content = {key: value for key, value in asdict(self).items() if value}
        write_json(Path(root) / DESCRIPTION_FILE, content, indent=2)

    @classmethod
    def load(cls, root: str | os.PathLike | None) -> DatasetDescription:
        """Read ``dataset.json`` of a folder; return an empty description if there is none.

        Raises:
            DatasetError: The file is invalid or has unknown keys or values.
        """
        path = Path(root or '.') / DESCRIPTION_FILE
        return cls() if root is None or not path.is_file() else cls.load_file(path)

    @classmethod
    def load_file(cls, path: str | os.PathLike) -> DatasetDescription:
        """Read a description from a file of any name.

        Raises:
            DatasetError: The file is missing, invalid, or has unknown keys or values.
        """
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise DatasetError(f'{path}: no such file') from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f'{path} is not complete JSON ({error}): write it again') from None
        known = {f.name for f in fields(cls)}
        if not isinstance(content, dict) or not set(content) <= known:
            unknown = sorted(set(content) - known) if isinstance(content, dict) else 'no object'
            raise DatasetError(f'{path}: unknown content {unknown}; known keys are {sorted(known)}')
        for key in ('bands', 'classes'):
            _check_names(content.get(key, []), f'{path}: {key}')
        for key in ('label_values', 'scene_values'):
            if not isinstance(content.get(key, {}), dict):
                raise DatasetError(
                    f'{path}: {key} = {json.dumps(content[key])}: expected an object with the '
                    'class of each value'
                )
        description = cls(**{key: _freeze(value) for key, value in content.items()})
        _check_palette(description, path)
        return description


def _check_names(names: Any, place: str) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DatasetError(f'{place} = {json.dumps(names)}: expected a list of names')
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        raise DatasetError(f"{place}: '{repeated[0]}' occurs twice: give each a name of its own")


def _check_palette(description: DatasetDescription, path: str | os.PathLike) -> None:
    palette, names = description.palette, description.class_names
    for colour in palette if isinstance(palette, tuple) else (palette,):
        if not (
            isinstance(colour, tuple)
            and len(colour) == 3
            and all(isinstance(part, int) and 0 <= part <= 255 for part in colour)
        ):
            raise DatasetError(
                f'{path}: palette has the colour {json.dumps(colour)}: expected a list of '
                '[red, green, blue], integers from 0 to 255'
            )
    if palette and names and len(palette) != len(names):
        raise DatasetError(
            f'{path}: palette has {len(palette)} colours for {len(names)} classes: expected one '
            'each, in the order of the classes'
        )


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value

"""``dataset.json``: the description of a folder of tiles."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text

DESCRIPTION_FILE = 'dataset.json'


class DatasetError(UserError):
    """A data set that cannot be used as it is; the message says where and what to do."""


@dataclass(frozen=True)
class DatasetDescription:
    """The content of ``dataset.json``; every field may be left out.

    Attributes:
        bands: Names of the bands in file order.
        classes: Names of the classes in train-id order.
        palette: RGB colours of the classes, 0 to 255.
        label_convention: Convention of the labels, see
            :class:`dnas_mmseg.datasets.labels.LabelEncoding`.
        dtype: Name of the numpy type of the images' samples.
        tile_size: Height and width of the tiles, in pixels.
        mean, std: Mean and standard deviation of each band over the training tiles, in units of the
            samples.
        class_shares: Share of each class among the labelled pixels of the training tiles.
        apply_scale: Whether the samples are those of the scenes with scale and offset applied, so
            that scenes must be read in this way, too.
        provenance: Origin of the tiles, free.
    """

    bands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, ...], ...] = ()
    label_convention: str | None = None
    dtype: str | None = None
    tile_size: tuple[int, int] | tuple[()] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_shares: tuple[float, ...] = ()
    apply_scale: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Part that is an mmseg data set's metainfo."""
        names = ('bands', 'classes', 'palette', 'apply_scale')
        everything = {name: getattr(self, name) for name in names}
        return {key: value for key, value in everything.items() if value}

    def save(self, root: str | os.PathLike) -> None:
        """Write ``dataset.json`` into a folder."""
        content = {key: value for key, value in asdict(self).items() if value}
        write_text(Path(root) / DESCRIPTION_FILE, json.dumps(content, indent=2) + '\n')

    @classmethod
    def load(cls, root: str | os.PathLike | None) -> DatasetDescription:
        """Read a folder's ``dataset.json``; an empty description where there is none.

        Raises:
            DatasetError: The file is damaged, or has unknown keys.
        """
        path = Path(root or '.') / DESCRIPTION_FILE
        return cls() if root is None or not path.is_file() else cls.load_file(path)

    @classmethod
    def load_file(cls, path: str | os.PathLike) -> DatasetDescription:
        """Read a description from a file of any name.

        Raises:
            DatasetError: The file is missing or damaged, or has unknown keys.
        """
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise DatasetError(f'{path}: no such file') from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f'{path} is not complete JSON ({error}): write it again') from None
        known = {f.name for f in fields(cls)}
        if not isinstance(content, dict) or not set(content) <= known:
            odd = sorted(set(content) - known) if isinstance(content, dict) else 'no object'
            raise DatasetError(f'{path}: unknown content {odd}; known keys are {sorted(known)}')
        return cls(**{key: _freeze(value) for key, value in content.items()})


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value

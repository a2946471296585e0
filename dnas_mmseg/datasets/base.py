"""Base of data sets with named classes and bands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset

from dnas_mmseg.classes import default_palette

from .checks import PairReport
from .description import DatasetDescription, DatasetError
from .labels import IGNORE, LabelEncoding


class InspectableDataset(BaseSegDataset):
    """Data set with named classes and bands, whose samples can be inspected.

    Attributes:
        description: Metadata of ``dataset.json``; empty if there is none.
        file_classes: Names of the classes in the labels as stored.
        file_palette: RGB colours of these classes; empty if unknown.
        labels: Encoding of the labels as stored.
        used_bands: Names of the bands that the pipeline selects; empty if unknown.
    """

    description: DatasetDescription
    file_classes: tuple[str, ...]
    file_palette: tuple[tuple[int, ...], ...]
    labels: LabelEncoding
    used_bands: tuple[str, ...]

    @abstractmethod
    def inspect(
        self,
        *,
        statistics: bool = False,
        workers: int = 0,
        track: Callable[[Iterable], Iterable] = iter,
    ) -> Iterator[PairReport]:
        """Yield a report on each sample, in order.

        Args:
            statistics: Whether to compute statistics of the images.
            workers: Number of worker processes; 0 runs in this process.
            track: Wrapper of the iterator, such as a progress bar.
        """

    def get_label_map(self, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Map the files' train ids to those of selected classes, 255 for other classes.

        Args:
            new_classes: Class names of ``metainfo``; defaults to those of the files.

        Returns:
            Train id for each train id of the files; None if the classes are those of the files.

        Raises:
            DatasetError: A class is not among those of the files.
        """
        wanted = tuple(new_classes or self.file_classes)
        if wanted == self.file_classes:
            return None
        unknown = [name for name in wanted if name not in self.file_classes]
        if unknown:
            raise DatasetError(
                f'metainfo classes {", ".join(unknown)} are not among those of the files '
                f'({", ".join(self.file_classes)})'
            )
        return {
            i: wanted.index(name) if name in wanted else IGNORE
            for i, name in enumerate(self.file_classes)
        }

    def select_classes(self, counts: Sequence[Any] | np.ndarray) -> list:
        """Select values per class of the files for the classes of ``metainfo``, in their order."""
        return [counts[self.file_classes.index(name)] for name in self.metainfo['classes']]

    def _update_palette(self) -> Sequence:
        palette = tuple(map(tuple, self._metainfo.get('palette', ())))
        if not palette:
            return default_palette(len(self._metainfo['classes']))
        if self.label_map is not None and palette == self.file_palette != ():
            return tuple(self.select_classes(palette))
        return super()._update_palette()

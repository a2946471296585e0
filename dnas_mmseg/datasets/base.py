"""Base of data sets with named classes and bands."""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from dnas_mmseg.classes import default_palette

from .checks import PairReport, summarise
from .description import DatasetDescription, DatasetError
from .labels import IGNORE, LabelEncoding

_SHOWN = 8
"""Problems listed in an error: enough to see a pattern without flooding the terminal."""


class InspectableDataset(BaseSegDataset):
    """Data set with named classes and bands, whose samples can be inspected.

    Attributes:
        description: Metadata of ``dataset.json``; empty if there is none.
        file_classes: Names of the classes in the labels as stored.
        file_palette: RGB colours of these classes; empty if unknown.
        labels: Encoding of the labels as stored.
        check_files: Number of samples to check in the constructor.
        used_bands: Names of the bands that the pipeline selects; empty if unknown.
    """

    description: DatasetDescription
    file_classes: tuple[str, ...]
    file_palette: tuple[tuple[int, ...], ...]
    labels: LabelEncoding
    check_files: int
    used_bands: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Where the samples are from, for messages: the list, or the folder of the images."""
        return self.ann_file or self.data_prefix.get('img_path') or ''

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

    def _check_reports(self, reports: Iterable[PairReport], total: str) -> None:
        """Warn, log and raise what reports on the first samples contain.

        Args:
            reports: Reports on the first ``check_files`` samples.
            total: Number and kind of all samples, for messages.

        Raises:
            DatasetError: A report contains a problem.
        """
        summary, name = summarise(reports, self.labels), type(self).__name__
        for warning in summary.warnings:
            warnings.warn(f'{name}: {warning}', stacklevel=3)
        for note in summary.notes:
            _log_once(f'{name}: {note}', self.data_root)
        raise_problems(
            f'{name}: problems in the first {summary.files} of {total} (`dnas check CONFIG` checks '
            'all)',
            summary.problems,
        )


def raise_problems(title: str, problems: Sequence[str]) -> None:
    """Raise a :class:`DatasetError` that lists problems; do nothing without any."""
    if problems:
        shown = [f'  - {problem}' for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f'  ... and {len(problems) - _SHOWN} more')
        raise DatasetError('\n'.join([f'{title}:', *shown]))


_logged: set[tuple[str | None, str]] = set()


def _log_once(note: str, data_root: str | None) -> None:
    """Log a note once per process, although a data set may be built several times."""
    kind = re.sub(r'\S+\.\w+|\(and \d+ more files\)', '', note)  # ignore the file name
    if (data_root, kind) not in _logged:
        _logged.add((data_root, kind))
        print_log(note, logger='current')

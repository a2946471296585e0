"""Label conventions and conversion of labels to train ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, Samples, Window

IGNORE = 255
CONVENTIONS = ('train_id', 'index', 'rgb')
_INVALID = -1


class LabelError(UserError):
    """A label contradicts its convention or image, or the convention is invalid."""


@dataclass(frozen=True)
class LabelEncoding:
    """Encoding of label files as train ids 0 .. n-1, with 255 for unlabelled pixels.

    Attributes:
        convention: Convention of the files. ``'train_id'``: 0 .. n-1, 255 unlabelled. ``'index'``:
            1 .. n, 0 unlabelled. ``'rgb'``: three bands with the palette's colours, or one band
            with a colour table; ``unlabelled_colour`` unlabelled.
        num_classes: Number of classes in the files, n.
        palette: RGB colours of the classes, required for ``'rgb'``.
        unlabelled_colour: RGB colour of unlabelled pixels for ``'rgb'``; ignored if a class has it.

    Example:
        >>> LabelEncoding('index', num_classes=2).encode(np.array([[[0, 1, 2]]], np.uint8))
        array([[255,   0,   1]], dtype=uint8)
    """

    convention: str
    num_classes: int
    palette: tuple[tuple[int, ...], ...] = ()
    unlabelled_colour: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise LabelError(
                f"label convention '{self.convention}' is unknown; choose 'train_id' (0 .. n-1, "
                "255 unlabelled), 'index' (1 .. n, 0 unlabelled) or 'rgb' (the palette's colours)"
            )
        if not 0 < self.num_classes < IGNORE:
            raise LabelError(f'{self.num_classes} classes: expected 1 to {IGNORE - 1}')
        if self.convention == 'rgb' and len(self.palette) != self.num_classes:
            raise LabelError(
                f"convention 'rgb' requires a colour per class; the palette has "
                f'{len(self.palette)} for {self.num_classes} classes'
            )
        if self.convention == 'rgb':
            first: dict[tuple[int, ...], int] = {}
            for i, colour in enumerate(map(tuple, self.palette)):
                if colour in first:
                    raise LabelError(
                        f"convention 'rgb': classes {first[colour]} and {i} (from 0) have the same "
                        f'colour {colour} in the palette'
                    )
                first[colour] = i

    def encode(self, samples: np.ndarray | Samples) -> np.ndarray:
        """Convert samples to train ids.

        Args:
            samples: Samples of a label: indices (1, height, width), or colours (3, height, width).
                :class:`Samples` include nodata values and mask.

        Returns:
            Train ids, uint8 (height, width).

        Raises:
            LabelError: The label has unknown values or a wrong number of bands.
        """
        ids, unknown = self.encode_known(samples)
        if unknown:
            hint = ''
            if self.convention != 'rgb':
                values = samples.values if isinstance(samples, Samples) else samples
                finite = values[0][np.isfinite(values[0])]
                other = self.detect_other_convention({int(v) for v in np.unique(finite)})
                if other:
                    hint = f". This looks like label_convention='{other}'"
            raise LabelError(self.describe_unknown(unknown) + hint)
        return ids

    def encode_known(self, samples: np.ndarray | Samples) -> tuple[np.ndarray, Counter[str]]:
        """Convert samples to train ids, with 255 for unknown values.

        Masked pixels are 255. A declared nodata value is 255 unless it is a class by the
        convention, since programs declare 0 as nodata by default.

        Args:
            samples: Samples of a label, as in :meth:`encode`.

        Returns:
            Train ids, uint8 (height, width); and the number of pixels of each unknown value.

        Raises:
            LabelError: The number of bands is wrong.
        """
        known = (
            samples if isinstance(samples, Samples) else Samples(samples, (None,) * len(samples))
        )
        samples = known.values
        if self.convention == 'rgb':
            ids = self._encode_colours(samples)
        else:
            ids = self._encode_indices(samples)
        if known.masked is not None:
            ids[known.masked] = IGNORE
        if known.invalid is not None:
            ids[known.invalid & (ids == _INVALID)] = IGNORE
        unknown: Counter[str] = Counter()
        is_unknown = ids == _INVALID
        if is_unknown.any():
            values, counts = np.unique(samples[:3, is_unknown].T, axis=0, return_counts=True)
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                unknown[str(tuple(value) if len(value) > 1 else value[0])] = count
            ids[is_unknown] = IGNORE
        return ids.astype(np.uint8), unknown

    def describe_unknown(self, unknown: Counter[str]) -> str:
        """Return a message with the unknown values and those of the convention."""
        shown = ', '.join(f'{value} ({count} pixels)' for value, count in unknown.most_common(5))
        more = ', ...' if len(unknown) > 5 else ''
        allowed = {
            'train_id': f'0 .. {self.num_classes - 1} and {IGNORE} (unlabelled)',
            'index': f'1 .. {self.num_classes} and 0 (unlabelled)',
            'rgb': "the palette's colours",
        }[self.convention]
        advice = ''
        if self.convention != 'rgb':
            advice = (
                '. Convert codes with gaps (10, 20, ...) to consecutive ones, e.g. by '
                'gdal_calc.py --calc="1*(A==10)+2*(A==20)"'
            )
        return (
            f"label values {shown}{more} are unknown: convention '{self.convention}' has {allowed}"
            f'{advice if self._has_gaps(unknown) else ""}'
        )

    def _has_gaps(self, unknown: Counter[str]) -> bool:
        """Return whether unknown values look like class codes with gaps, such as tens."""
        values = [int(value) for value in unknown if value.isdigit()]
        return len(values) > 1 and len(values) <= self.num_classes and max(values) > 2 * len(values)

    def detect_other_convention(self, values: set[int]) -> str | None:
        """Return the other integer convention if the values fit only that one, else None.

        Args:
            values: Stored label values of all files.
        """
        n = self.num_classes
        if self.convention == 'train_id' and n in values and IGNORE not in values:
            return 'index'
        if self.convention == 'index' and n not in values and IGNORE in values:
            return 'train_id'
        return None

    def check_colour_table(self, colour_table: Sequence[Sequence[int]]) -> str:
        """Return a warning if a file's colour table contradicts the palette, else an empty string.

        Args:
            colour_table: RGB colours of the file's values 0, 1, ....
        """
        if self.convention == 'rgb' or not colour_table or not self.palette:
            return ''
        classes = {tuple(colour): i for i, colour in enumerate(self.palette)}
        first = {'train_id': 0, 'index': 1}
        found = {
            convention: [
                (i + start, classes[tuple(colour_table[i + start])], i)
                for i in range(min(self.num_classes, len(colour_table) - start))
                if classes.get(tuple(colour_table[i + start]), i) != i
            ]
            for convention, start in first.items()
        }
        if not found[self.convention]:
            return ''
        value, colour, expected = found[self.convention][0]
        (other,) = set(first) - {self.convention}
        advice = "'rgb' reads labels by their colours" if found[other] else f"'{other}' agrees"
        return (
            f"its colour table gives {value} the palette's colour of class {colour}, but "
            f"label_convention='{self.convention}' maps it to class {expected} (from 0): {advice}"
        )

    def suspect_other_convention(self, values: set[int]) -> str | None:
        """Return the other integer convention if the values fit both but suggest that one."""
        if self.convention == 'index' and 0 in values and self.num_classes not in values:
            return None if self.detect_other_convention(values) else 'train_id'
        return None

    def _encode_indices(self, samples: np.ndarray) -> np.ndarray:
        if samples.shape[0] != 1:
            raise LabelError(
                f"the label has {samples.shape[0]} bands, convention '{self.convention}' requires "
                "1; coloured labels are label_convention='rgb'"
            )
        table = np.full(IGNORE + 1, _INVALID, np.int16)
        if self.convention == 'train_id':
            table[: self.num_classes] = np.arange(self.num_classes)
            table[IGNORE] = IGNORE
        else:
            table[1 : self.num_classes + 1] = np.arange(self.num_classes)
            table[0] = IGNORE
        label = samples[0]
        if label.dtype == np.uint8:
            return table[label]
        with np.errstate(invalid='ignore'):
            known = (label >= 0) & (label <= IGNORE) & (label == np.floor(label))
        return np.where(known, table[np.where(known, label, 0).astype(np.intp)], _INVALID)

    def _encode_colours(self, samples: np.ndarray) -> np.ndarray:
        if samples.shape[0] not in (3, 4):
            raise LabelError(
                f"the label has {samples.shape[0]} bands, convention 'rgb' requires 3; single-band "
                "labels are label_convention='train_id' or 'index'"
            )
        colours = _pack(samples[:3])
        palette = [tuple(colour) for colour in self.palette]
        ids = np.arange(self.num_classes, dtype=np.int16)
        if self.unlabelled_colour not in palette:
            palette, ids = [*palette, self.unlabelled_colour], np.append(ids, np.int16(IGNORE))
        known = _pack(np.array(palette).T[:, :, None])[:, 0]
        order = np.argsort(known)
        place = np.searchsorted(known, colours, sorter=order).clip(max=len(known) - 1)
        nearest = order[place]
        return np.where(known[nearest] == colours, ids[nearest], _INVALID)


def read_label(raster: Raster, labels: LabelEncoding, window: Window | None = None) -> np.ndarray:
    """Read train ids, uint8 (height, width); see :meth:`LabelEncoding.encode`."""
    return labels.encode(label_samples(raster, labels, window))


def label_samples(raster: Raster, labels: LabelEncoding, window: Window | None = None) -> Samples:
    """Read a label's samples; for ``'rgb'``, expand a single band by its colour table."""
    samples = raster.samples(window)
    table = raster.info.colour_table
    if labels.convention != 'rgb' or len(samples.values) != 1 or not table:
        return samples
    colours = np.full((3, max(len(table), int(samples.values.max()) + 1)), -1, np.int32)
    colours[:, : len(table)] = np.array(table).T
    values = colours[:, samples.values[0]]
    return replace(samples, values=values, nodata=(None,) * 3, masked=samples.invalid)


def _pack(colours: np.ndarray) -> np.ndarray:
    """Return colours (3, H, W) as one integer per pixel, (H, W)."""
    red, green, blue = colours.astype(np.int32)
    return (red << 16) | (green << 8) | blue


def class_weights(shares: Sequence[float] | np.ndarray) -> list[float]:
    """Compute loss weights by median frequency balancing (Eigen and Fergus, ICCV 2015).

    Args:
        shares: Pixels per class, as counts or shares, (classes,).

    Returns:
        Weights ``median / share``, with the median over the classes that occur; 0 for classes
        without pixels.

    Example:
        >>> class_weights([30, 0, 10])
        [0.6667, 0.0, 2.0]
    """
    frequencies = np.asarray(shares, float)
    median = np.median(frequencies[frequencies > 0]) if (frequencies > 0).any() else 0.0
    weights = np.divide(median, frequencies, out=np.zeros_like(frequencies), where=frequencies > 0)
    return [round(float(weight), 4) for weight in weights]

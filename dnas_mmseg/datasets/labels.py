"""Label conventions and conversion of labels to train ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dnas_mmseg.classes import NO_CLASS
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, Samples, Window

IGNORE = NO_CLASS
CONVENTIONS = ('train_id', 'index', 'rgb', 'values')
_INVALID = -1

LabelValue = int | tuple[int, int, int]
"""Stored value of a label's pixel: an integer, or a colour."""


class LabelError(UserError):
    """A label contradicts its convention or image, or the convention is invalid."""


@dataclass(frozen=True)
class LabelEncoding:
    """Encoding of label files as train ids 0 .. n-1, with 255 for unlabelled pixels.

    Attributes:
        convention: Convention of the files. ``'train_id'``: 0 .. n-1, 255 unlabelled. ``'index'``:
            1 .. n, 0 unlabelled. ``'rgb'``: three bands with the palette's colours, or one band
            with a colour table; ``unlabelled_colour`` unlabelled. ``'values'``: any integers or
            colours, as ``values`` lists them.
        num_classes: Number of classes in the files, n.
        palette: RGB colours of the classes, required for ``'rgb'``.
        unlabelled_colour: RGB colour of unlabelled pixels for ``'rgb'``; ignored if a class has it.
        values: Stored values with their train ids for ``'values'``, see
            :func:`resolve_label_values`; 255 for unlabelled. Several values may be one class.

    Example:
        >>> LabelEncoding('index', num_classes=2).encode(np.array([[[0, 1, 2]]], np.uint8))
        array([[255,   0,   1]], dtype=uint8)
    """

    convention: str
    num_classes: int
    palette: tuple[tuple[int, ...], ...] = ()
    unlabelled_colour: tuple[int, int, int] = (0, 0, 0)
    values: tuple[tuple[LabelValue, int], ...] = ()

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise LabelError(
                f"label convention '{self.convention}' is unknown; choose 'train_id' (0 .. n-1, "
                "255 unlabelled), 'index' (1 .. n, 0 unlabelled) or 'rgb' (the palette's colours), "
                'or set label_values'
            )
        if (self.convention == 'values') != bool(self.values):
            raise LabelError("convention 'values' and label_values require each other")
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

    @property
    def is_coloured(self) -> bool:
        """Whether the stored values are colours."""
        return self.convention == 'rgb' or isinstance(next(iter(self.codes)), tuple)

    @cached_property
    def codes(self) -> dict[LabelValue, int]:
        """Train id, or 255 for unlabelled, of each stored value that the convention has."""
        ids = range(self.num_classes)
        if self.convention == 'train_id':
            return {**{i: i for i in ids}, IGNORE: IGNORE}
        if self.convention == 'index':
            return {0: IGNORE, **{i + 1: i for i in ids}}
        if self.convention == 'values':
            return dict(self.values)
        colours: dict[LabelValue, int] = {self.unlabelled_colour: IGNORE}
        return colours | {(r, g, b): i for i, (r, g, b) in enumerate(self.palette)}

    def name_values(self, classes: Sequence[str]) -> dict[str, str | None]:
        """Return the class of each stored value, as ``label_values``; None for unlabelled.

        Args:
            classes: Class names in train-id order.

        Example:
            >>> LabelEncoding('index', num_classes=2).name_values(['land', 'water'])
            {'0': None, '1': 'land', '2': 'water'}
        """
        return {
            format_value(value): None if train_id == IGNORE else classes[train_id]
            for value, train_id in self.codes.items()
        }

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
            values = samples.values if isinstance(samples, Samples) else samples
            hint = ''
            if not self.is_coloured:
                finite = values[0][np.isfinite(values[0])]
                other = self.detect_other_convention({int(v) for v in np.unique(finite)})
                if other:
                    hint = f". This looks like label_convention='{other}'"
            raise LabelError(self.describe_unknown(unknown, values[0].size) + hint)
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
        ids = self._look_up(samples)
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

    def describe_unknown(self, unknown: Counter[str], total: int | None = None) -> str:
        """Return a message with the unknown values and those of the convention.

        Args:
            unknown: Number of pixels of each unknown value.
            total: Number of pixels of the label, for their shares.
        """
        shown = ', '.join(
            f'{value} ({count} pixels'
            + (f', {100 * count / total:.3g} %)' if total is not None else ')')
            for value, count in unknown.most_common(5)
        )
        more = ', ...' if len(unknown) > 5 else ''
        allowed = {
            'train_id': f'0 .. {self.num_classes - 1} and {IGNORE} (unlabelled)',
            'index': f'1 .. {self.num_classes} and 0 (unlabelled)',
            'rgb': "the palette's colours",
            'values': ', '.join(map(str, self.codes)),
        }[self.convention]
        advice = ''
        if self.convention == 'values':
            advice = '. Add them to label_values with their class, or None for unlabelled'
        elif self._has_gaps(unknown):
            first, second = [value for value in unknown if value.isdigit()][:2]
            advice = f". For codes with gaps, set label_values={{{first}: 'name', {second}: ...}}"
        return (
            f"label values {shown}{more} are unknown: convention '{self.convention}' has {allowed}"
            f'{advice}'
        )

    def _has_gaps(self, unknown: Counter[str]) -> bool:
        """Return whether unknown values look like class codes with gaps, such as tens."""
        if self.is_coloured:
            return False
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
        if self.convention not in ('train_id', 'index') or not colour_table or not self.palette:
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

    def _look_up(self, samples: np.ndarray) -> np.ndarray:
        """Return the train id of each pixel, -1 for unknown values, int16 (height, width)."""
        if self.is_coloured:
            if samples.shape[0] not in (3, 4):
                raise LabelError(
                    f'the label has {samples.shape[0]} bands, colours require 3; single-band '
                    "labels are label_convention='train_id' or 'index', or label_values of integers"
                )
            values = _pack(samples[:3])
            known = _pack(np.array(list(self.codes)).T[:, :, None])[:, 0]
        else:
            if samples.shape[0] != 1:
                raise LabelError(
                    f"the label has {samples.shape[0]} bands, convention '{self.convention}' "
                    "requires 1; coloured labels are label_convention='rgb'"
                )
            values, known = samples[0], np.array(list(self.codes))
        ids = np.array(list(self.codes.values()), np.int16)
        if values.dtype == np.uint8:
            table = np.full(256, _INVALID, np.int16)
            inside = (known >= 0) & (known < 256)
            table[known[inside]] = ids[inside]
            return table[values]
        order = np.argsort(known)
        place = np.searchsorted(known, values, sorter=order).clip(max=len(known) - 1)
        nearest = order[place]
        return np.where(known[nearest] == values, ids[nearest], np.int16(_INVALID))


def resolve_label_values(
    label_values: Mapping[int, str | None] | Mapping[str, str | None] | Sequence[int | str],
    classes: Sequence[str] = (),
) -> tuple[tuple[str, ...], tuple[tuple[LabelValue, int], ...]]:
    """Resolve which stored values are which class.

    Args:
        label_values: Class name of each stored value, None for unlabelled; several values may have
            one class. Or the stored values of ``classes``, in their order. A value is an integer or
            a colour as ``'#rrggbb'``. JSON files have the integers as text.
        classes: Class names in train-id order; defaults to the names in ``label_values``.

    Returns:
        Class names in train-id order; and stored values with their train ids, 255 for unlabelled,
        for :attr:`LabelEncoding.values`.

    Raises:
        LabelError: A value is neither an integer nor a colour, occurs twice, or has a class that is
            not in ``classes``.

    Example:
        >>> resolve_label_values({10: 'trees', 20: 'trees', 30: 'grass', 0: None})
        (('trees', 'grass'), ((10, 0), (20, 0), (30, 1), (0, 255)))
        >>> resolve_label_values((0, 255), ('land', 'water'))
        (('land', 'water'), ((0, 0), (255, 1)))
    """
    mapping: dict[int | str, str | None]
    if isinstance(label_values, Mapping):
        mapping = dict(label_values.items())
    else:
        if len(label_values) != len(classes):
            raise LabelError(
                f'label_values lists {len(label_values)} values for {len(classes)} classes: '
                'list one each, or map values to class names, {value: name}'
            )
        mapping = dict(zip(label_values, classes, strict=True))
    names = tuple(classes) or tuple(dict.fromkeys(n for n in mapping.values() if n))
    result: dict[LabelValue, int] = {}
    for text, name in mapping.items():
        value = _parse_value(text)
        if name is not None and name not in names:
            raise LabelError(
                f"label_values maps {text} to '{name}', which is not among the classes "
                f'{", ".join(names)}'
            )
        if value in result:
            raise LabelError(f'label_values has {text} twice')
        result[value] = IGNORE if name is None else names.index(name)
    if not names:
        raise LabelError('label_values has no class')
    if len({type(value) for value in result}) > 1:
        raise LabelError('label_values mixes integers and colours: use one of them')
    return names, tuple(result.items())


def _parse_value(text: int | str) -> LabelValue:
    """Return a stored value from an integer, its text, or ``'#rrggbb'``."""
    if re.fullmatch(r'#[0-9a-fA-F]{6}', str(text)):
        red, green, blue = bytes.fromhex(str(text)[1:])
        return red, green, blue
    if isinstance(text, bool) or not re.fullmatch(r'-?\d+', str(text)):
        raise LabelError(
            f"label_values has the value {text!r}: expected an integer or a colour '#rrggbb'"
        )
    return int(text)


def format_value(value: LabelValue) -> str:
    """Return the text of a stored value: an integer, or ``'#rrggbb'``."""
    return f'#{bytes(value).hex()}' if isinstance(value, tuple) else str(value)


def read_label(raster: Raster, labels: LabelEncoding, window: Window | None = None) -> np.ndarray:
    """Read train ids, uint8 (height, width); see :meth:`LabelEncoding.encode`."""
    return labels.encode(label_samples(raster, labels, window))


def label_samples(
    raster: Raster, labels: LabelEncoding, window: Window | None = None, side: int | None = None
) -> Samples:
    """Read a label's samples; for colours, expand a single band by its colour table.

    Args:
        raster: Label.
        labels: Its encoding.
        window: Window to read; defaults to the whole label.
        side: Longer side in pixels to which the label is downsampled by nearest neighbours.
    """
    samples = raster.samples(window, side=side)
    table = raster.info.colour_table
    if not labels.is_coloured or len(samples.values) != 1 or not table:
        return samples
    colours = np.full((3, max(len(table), int(samples.values.max()) + 1)), -1, np.int32)
    colours[:, : len(table)] = np.array(table).T
    values = colours[:, samples.values[0]]
    masked = samples.masked
    if samples.invalid is not None:  # nodata is unlabelled, unless its colour is a class
        is_class = labels.encode_known(colours[:, None])[0][0] != IGNORE  # of each table entry
        fill = samples.invalid & ~is_class[samples.values[0]]
        masked = fill if masked is None else masked | fill
    return replace(samples, values=values, nodata=(None,) * 3, masked=masked)


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

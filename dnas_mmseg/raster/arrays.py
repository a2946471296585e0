"""NumPy and HDF5 arrays as rasters: tiles in ``.npy`` and ``.npz`` files, and stacks of tiles."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from dnas_mmseg.errors import did_you_mean

from ._gdal import RasterError, gdal, gdal_array

_HDF5_SUFFIXES = ('.h5', '.hdf5')
_SUFFIXES = ('.npy', '.npz', *_HDF5_SUFFIXES)
_PREFIX = 'ARRAY:'
_MAX_BANDS = 32
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_CONVERTED = {'bool': 'uint8', 'int8': 'int16', 'float16': 'float32'}
"""Types that GDAL 3.4 lacks, with a type that holds all their values."""

_DAMAGE = (
    OSError, ValueError, EOFError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_TYPES = ('uint8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64')


class ArrayName(NamedTuple):
    """Parts of the name of an array.

    Attributes:
        file: Path of the file.
        array: Name of the array in the file; empty for ``.npy``, and for the only array of a
            ``.npz``.
        index: Position on the first axis; None for the whole array.

    Example:
        >>> str(ArrayName('tiles.h5', 'images', 17)), str(ArrayName('stack.npy', index=3))
        ('ARRAY:"tiles.h5":images:17', 'ARRAY:"stack.npy":3')
    """

    file: str
    array: str = ''
    index: int | None = None  # type: ignore[assignment]  # hides tuple.index

    def __str__(self) -> str:
        if not self.array and self.index is None:
            return self.file
        parts = [self.array, '' if self.index is None else str(self.index)]
        return ':'.join([f'{_PREFIX}"{self.file}"', *filter(None, parts)])

    @property
    def stem(self) -> str:
        """Stem for output files: file name without suffix, array name and index."""
        text = '_'.join(filter(None, (self.array, '' if self.index is None else str(self.index))))
        return '_'.join([Path(self.file).stem, *re.findall(r'[\w.-]+', text)])

    def inside(self, folder: str) -> ArrayName:
        """Return the name with its file relative to a folder, unless the file is absolute."""
        return self._replace(file=os.path.join(folder, self.file))


def parse_array_name(path: str) -> ArrayName | None:
    """Return the parts of the name of an array; None for the path of another raster.

    Args:
        path: Path of a ``.npy`` or ``.npz`` file, or a name: ``ARRAY:"file":array``,
            ``ARRAY:"file":array:index``, or ``ARRAY:"file.npy":index``.

    Raises:
        RasterError: The name starts with ``ARRAY:`` but has another form.
    """
    if not path.startswith(_PREFIX):
        return ArrayName(path) if path.lower().endswith(('.npy', '.npz')) else None
    match = re.fullmatch(r'"([^"]+)":(.+)', path[len(_PREFIX) :])
    if match is None:
        raise RasterError(
            f'{path}: not the name of an array; expected {_PREFIX}"FILE":ARRAY, '
            f'{_PREFIX}"FILE":ARRAY:INDEX or {_PREFIX}"FILE.npy":INDEX'
        )
    file, rest = match.groups()
    suffix = Path(file).suffix.lower()
    if suffix not in _SUFFIXES:
        raise RasterError(
            f'{path}: arrays are read from {", ".join(_SUFFIXES)}, not from '
            f'{suffix or "files without a suffix"}'
        )
    if suffix == '.npy':
        if not rest.isdecimal():
            raise RasterError(
                f'{path}: a .npy file has one array without a name; expected an index, '
                f'{_PREFIX}"{file}":0'
            )
        return ArrayName(file, '', int(rest))
    array, _, index = rest.rpartition(':')
    if array and index.isdecimal():
        return ArrayName(file, array, int(index))
    return ArrayName(file, rest)


def open_array(name: ArrayName) -> gdal.Dataset:
    """Open an array as a GDAL dataset in memory.

    Uncompressed arrays of ``.npy`` and ``.npz`` are mapped into memory, not loaded. Of compressed
    and HDF5 arrays only the element ``index`` is loaded.

    Raises:
        RasterError: The file or array is missing, damaged or of an unsupported type, or the axis of
            the bands is ambiguous.
    """
    values = _order_axes(_convert(_read_array(name), name), name)
    # The dataset holds a reference to the array and does not copy it.
    dataset = gdal_array.OpenArray(values)
    if dataset is None:
        raise RasterError(f'{name}: GDAL cannot open the array ({gdal.GetLastErrorMsg()})')
    return dataset


def array_shape(name: ArrayName) -> tuple[int, ...]:
    """Return the shape of a whole array, without reading its values.

    Raises:
        RasterError: The file or array is missing or damaged.
    """
    if Path(name.file).suffix.lower() in _HDF5_SUFFIXES:
        with _hdf5_array(name) as array:
            return tuple(array.shape)
    with _numpy_stream(name) as (stream, _):
        return _read_header(stream, name)[0]


def _read_array(name: ArrayName) -> np.ndarray:
    if Path(name.file).suffix.lower() in _HDF5_SUFFIXES:
        with _hdf5_array(name) as array:
            _check_index(name, array.shape)
            return np.asarray(array[()] if name.index is None else array[name.index])
    with _numpy_stream(name) as (stream, start):
        shape, fortran, dtype = _read_header(stream, name)
        _check_index(name, shape)
        order: Literal['F', 'C'] = 'F' if fortran else 'C'
        values: np.ndarray
        if start is not None:
            values = np.memmap(name.file, dtype, 'r', start + stream.tell(), shape, order)
            return values if name.index is None else values[name.index]
        if fortran or name.index is None:
            values = np.frombuffer(_read_exactly(stream, shape, dtype), dtype)
            values = values.reshape(shape, order=order)
            return values if name.index is None else values[name.index]
        size = int(np.prod(shape[1:])) * dtype.itemsize
        stream.seek(name.index * size, os.SEEK_CUR)
        return np.frombuffer(_read_exactly(stream, shape[1:], dtype), dtype).reshape(shape[1:])


def _read_exactly(stream: IO[bytes], shape: Sequence[int], dtype: np.dtype) -> bytes:
    count = int(np.prod(shape)) * dtype.itemsize
    content = stream.read(count)
    if len(content) < count:
        raise ValueError(f'{len(content)} of {count} bytes')
    return content


@contextmanager
def _numpy_stream(name: ArrayName) -> Iterator[tuple[IO[bytes], int | None]]:
    """Yield an array of a ``.npy`` or ``.npz`` file as a stream.

    Yields:
        Stream at the header of the array; and the offset of its start in the file, or None if it is
        compressed.
    """
    try:
        if not name.file.lower().endswith('.npz'):
            with open(name.file, 'rb') as stream:
                yield stream, 0
            return
        with zipfile.ZipFile(name.file) as archive:
            member = archive.getinfo(_member(name, archive.namelist()))
            start = _data_offset(name.file, member) if not member.compress_type else None
            with archive.open(member) as stream:
                yield stream, start
    except RasterError:
        raise
    except FileNotFoundError:
        raise RasterError(f'{name.file}: no such file') from None
    except _DAMAGE as error:
        raise RasterError(f'{name}: the file is truncated or damaged ({error})') from None


def _member(name: ArrayName, members: Sequence[str]) -> str:
    """Return the file of an array in a ``.npz`` file."""
    arrays = [member[:-4] for member in members if member.endswith('.npy')]
    if not name.array and len(arrays) == 1:
        return f'{arrays[0]}.npy'
    if not name.array:
        listed = ', '.join(str(ArrayName(name.file, array)) for array in arrays[:8])
        more = f' and {len(arrays) - 8} more' if len(arrays) > 8 else ''
        raise RasterError(
            f'{name.file}: a container of several arrays; choose one of {listed}{more}'
            if arrays
            else f'{name.file}: contains no array'
        )
    if name.array not in arrays:
        raise _missing(name, arrays)
    return f'{name.array}.npy'


def _data_offset(path: str, member: zipfile.ZipInfo) -> int:
    """Return the offset of the data of an uncompressed file in a zip archive."""
    with open(path, 'rb') as stream:
        # The local header may have other extra fields than the central directory.
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
    name, extra = int.from_bytes(lengths[:2], 'little'), int.from_bytes(lengths[2:], 'little')
    return member.header_offset + 30 + name + extra


def _read_header(stream: IO[bytes], name: ArrayName) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, Fortran order and type of a NumPy array."""
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as error:
        raise RasterError(f'{name}: not a NumPy array file ({error})') from None
    if version not in _HEADERS:
        raise RasterError(f'{name}: unsupported version {version} of the NumPy array format')
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise RasterError(
            f'{name}: an object array, which could run code when it is loaded: store it as an '
            'array of numbers'
        )
    return shape, fortran, dtype


@contextmanager
def _hdf5_array(name: ArrayName) -> Iterator[Any]:
    """Yield an array of an HDF5 file, ``h5py.Dataset``."""
    try:
        import h5py
    except ImportError:
        raise RasterError(
            f'{name}: HDF5 arrays require h5py, which is not installed: pip install '
            "'dnas_mmseg[h5]'"
        ) from None
    if not os.path.exists(name.file):
        raise RasterError(f'{name.file}: no such file')
    try:
        with h5py.File(name.file, 'r') as file:
            array = file.get(name.array)
            if not isinstance(array, h5py.Dataset):
                found: list[str] = []
                file.visititems(
                    lambda path, item: found.append(path) if hasattr(item, 'shape') else None
                )
                raise _missing(name, found)
            yield array
    except RasterError:
        raise
    except _DAMAGE as error:
        raise RasterError(f'{name}: the file is truncated or damaged ({error})') from None


def _missing(name: ArrayName, arrays: Sequence[str]) -> RasterError:
    return RasterError(
        f'{name.file}: no array {name.array}{did_you_mean(name.array, arrays)}; it contains '
        f'{", ".join(arrays[:8]) or "none"}'
    )


def _check_index(name: ArrayName, shape: Sequence[int]) -> None:
    if 0 in shape or not shape:
        raise RasterError(f'{name}: an array of shape {tuple(shape)} has no pixels')
    if name.index is not None and name.index >= shape[0]:
        raise RasterError(
            f'{name}: no index {name.index}; the array of shape {tuple(shape)} has {shape[0]} '
            'elements on the first axis'
        )


def _convert(values: np.ndarray, name: ArrayName) -> np.ndarray:
    """Convert samples to a type that GDAL reads; other types are not copied."""
    kind = values.dtype.kind
    if kind == 'c':
        raise RasterError(
            f'{name}: unsupported complex samples ({values.dtype}): store amplitude, or real and '
            'imaginary part, as separate bands'
        )
    dtype = values.dtype.newbyteorder('=')
    if dtype.name in ('int64', 'uint64'):
        low, high = int(values.min()), int(values.max())
        limits = np.iinfo(np.int32)
        if low < limits.min or high > limits.max:
            raise RasterError(
                f'{name}: {dtype} samples from {low} to {high} do not fit into int32: store '
                'another type'
            )
        dtype = np.dtype('int32')
    dtype = np.dtype(_CONVERTED.get(dtype.name, dtype))
    if dtype.name not in _TYPES:
        raise RasterError(
            f'{name}: unsupported sample type {values.dtype}; store one of {", ".join(_TYPES)}'
        )
    if values.dtype != dtype or not values.flags.aligned:
        return values.astype(dtype)
    return values


def _order_axes(values: np.ndarray, name: ArrayName) -> np.ndarray:
    """Return (bands, height, width) of an array (height, width) or with bands first or last."""
    shape = values.shape
    if values.ndim == 2:
        return values[None]
    if values.ndim != 3:
        stack = '' if name.index is not None or values.ndim != 4 else (
            f'; a tile of a stack is {name._replace(index=0)}'
        )  # fmt: skip
        raise RasterError(
            f'{name}: an array of shape {shape} is not an image; expected (height, width), (bands, '
            f'height, width) or (height, width, bands){stack}'
        )
    if shape[0] <= _MAX_BANDS and shape[0] < min(shape[1:]):
        return values
    if shape[2] <= _MAX_BANDS and shape[2] < min(shape[:2]):
        return values.transpose(2, 0, 1)
    raise RasterError(
        f'{name}: which axis of shape {shape} contains the bands is ambiguous: store it as (bands, '
        f'height, width) with at most {_MAX_BANDS} bands, fewer than rows and columns, or as a '
        'GeoTIFF'
    )

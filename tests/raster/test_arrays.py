import multiprocessing
import os
import pickle
import sys

import numpy as np
import pytest

from dnas_mmseg.raster import (
    Raster,
    RasterError,
    Window,
    array_shape,
    is_virtual,
    parse_array_name,
    raster_stem,
    read_raster,
    source_files,
)
from dnas_mmseg.raster.arrays import ArrayName


@pytest.fixture
def image(rng):
    return rng.integers(0, 60000, (4, 20, 31)).astype(np.uint16)


@pytest.fixture
def stack(rng):
    return rng.integers(0, 255, (5, 3, 16, 18)).astype(np.uint8)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 3, (5, 16, 18))


@pytest.fixture
def h5(tmp_path, stack, labels):
    h5py = pytest.importorskip('h5py')
    with h5py.File(tmp_path / 'tiles.h5', 'w') as file:
        file.create_dataset('images', data=stack, chunks=(1, 3, 16, 18), compression='gzip')
        file['truth/labels'] = labels
        file['one'] = stack[0]
        file['words'] = 'text'
    return tmp_path / 'tiles.h5'


@pytest.mark.parametrize('order', ['C', 'F'])
def test_npy(tmp_path, image, order):
    path = tmp_path / 'tile.npy'
    np.save(path, np.asarray(image, order=order))
    np.testing.assert_array_equal(read_raster(path), image)
    with Raster(path) as raster:
        info = raster.info
        part = raster.samples(Window(col_off=11, row_off=5, width=7, height=8), bands=[3, 1])
    assert (info.shape, info.bands, info.dtype) == ((20, 31), 4, 'uint16')
    assert info.band_names == ('', '', '', '')  # no band is taken for alpha
    assert (info.nodata, info.has_mask) == ((None,) * 4, False)
    np.testing.assert_array_equal(part.values, image[[3, 1], 5:13, 11:18])


@pytest.mark.parametrize(
    ('shape', 'bands'),
    [
        ((20, 31), 1),
        ((1, 20, 31), 1),
        ((20, 31, 1), 1),
        ((20, 31, 3), 3),
        ((13, 16, 16), 13),
        ((16, 16, 13), 13),
        ((32, 33, 33), 32),
    ],
)
def test_axis_of_the_bands(tmp_path, shape, bands):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / 'a.npy', values)
    expected = values[None] if len(shape) == 2 else values
    if shape[-1] == bands:
        expected = expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(read_raster(tmp_path / 'a.npy'), expected)


@pytest.mark.parametrize('shape', [(8, 8, 8), (33, 64, 64), (20, 3, 20), (4, 3, 20)])
def test_ambiguous_axes(tmp_path, shape):
    np.save(tmp_path / 'a.npy', np.zeros(shape, np.uint8))
    with pytest.raises(RasterError) as error:
        read_raster(tmp_path / 'a.npy')
    assert str(error.value) == (
        f'{tmp_path}/a.npy: which axis of shape {shape} contains the bands is ambiguous: store it '
        'as (bands, height, width) with at most 32 bands, fewer than rows and columns, or as a '
        'GeoTIFF'
    )


@pytest.mark.parametrize(
    ('dtype', 'read'),
    [
        ('bool', 'uint8'),
        ('int8', 'int16'),
        ('uint8', 'uint8'),
        ('int16', 'int16'),
        ('>u2', 'uint16'),
        ('uint32', 'uint32'),
        ('>i4', 'int32'),
        ('int64', 'int32'),
        ('uint64', 'int32'),
        ('float16', 'float32'),
        ('>f4', 'float32'),
        ('float64', 'float64'),
    ],
)
def test_types(tmp_path, dtype, read):
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    np.save(tmp_path / 'a.npy', values)
    np.savez(tmp_path / 'odd_offset.npz', values)
    for path in (tmp_path / 'a.npy', tmp_path / 'odd_offset.npz'):
        samples = read_raster(path)
        assert samples.dtype == read
        np.testing.assert_array_equal(samples[0], values)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (np.ones((4, 4), np.complex64), 'unsupported complex samples (complex64): store amplitude'),
        (np.full((4, 4), 2**31), 'int64 samples from 2147483648 to 2147483648 do not fit into'),
        (np.full((4, 4), 'x'), 'unsupported sample type <U1; store one of uint8, uint16'),
        (np.zeros((4, 4), [('a', 'u1')]), 'unsupported sample type'),
        (np.zeros((0, 4)), 'an array of shape (0, 4) has no pixels'),
        (np.float32(1), 'an array of shape () has no pixels'),
        (np.zeros(4), 'an array of shape (4,) is not an image; expected (height, width), (bands'),
    ],
)
def test_unsupported_arrays(tmp_path, values, message):
    np.save(tmp_path / 'a.npy', values)
    np.savez_compressed(tmp_path / 'b.npz', values)
    for path in (tmp_path / 'a.npy', tmp_path / 'b.npz'):
        with pytest.raises(RasterError) as error:
            read_raster(path)
        assert str(error.value).startswith(f'{path}: {message}')
        assert '\n' not in str(error.value)


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ['ATTACK'],)


@pytest.mark.parametrize('save', [np.save, np.savez, np.savez_compressed])
def test_object_arrays_run_no_code(tmp_path, monkeypatch, save):
    monkeypatch.setenv('ATTACK', str(tmp_path / 'ran'))
    path = tmp_path / ('a.npy' if save is np.save else 'a.npz')
    save(path, np.array([Attack()], object))
    with pytest.raises(RasterError, match=r'a\.np[yz]: an object array, which could run code'):
        read_raster(path)
    (tmp_path / 'b.npy').write_bytes(pickle.dumps(Attack()))
    with pytest.raises(RasterError, match=r'b\.npy: not a NumPy array file'):
        read_raster(tmp_path / 'b.npy')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('length', [0, 3, 9, 100, 0.5, 0.99])
@pytest.mark.parametrize('name', ['a.npy', 'a.npz', 'compressed.npz'])
def test_error_names_truncated_file(tmp_path, image, length, name):
    path = tmp_path / name
    save = {'a.npy': np.save, 'a.npz': np.savez}.get(name, np.savez_compressed)
    save(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: length if isinstance(length, int) else int(length * len(whole))])
    with pytest.raises(RasterError, match=name) as error:
        read_raster(path)
    assert '\n' not in str(error.value)


def test_damaged_member(tmp_path, image):
    np.savez_compressed(tmp_path / 'a.npz', image)
    content = bytearray((tmp_path / 'a.npz').read_bytes())
    content[300:400] = bytes(100)
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(RasterError, match=r'a\.npz: the file is truncated or damaged'):
        read_raster(tmp_path / 'a.npz')


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_npz(tmp_path, image, stack, save, order):
    path = tmp_path / 'tiles.npz'
    save(path, image=image, stack=np.asarray(stack, order=order))
    np.testing.assert_array_equal(read_raster(f'ARRAY:"{path}":image'), image)
    for i in range(5):
        np.testing.assert_array_equal(read_raster(f'ARRAY:"{path}":stack:{i}'), stack[i])
    with pytest.raises(RasterError) as error:
        read_raster(path)
    assert str(error.value) == (
        f'{path}: a container of several arrays; choose one of ARRAY:"{path}":image, '
        f'ARRAY:"{path}":stack'
    )
    with pytest.raises(RasterError, match=r'no array imag \(did you mean image\?\); it contains'):
        read_raster(f'ARRAY:"{path}":imag')
    with pytest.raises(RasterError, match=r'no index 5; the array of shape \(5, 3, 16, 18\) has 5'):
        read_raster(f'ARRAY:"{path}":stack:5')
    with pytest.raises(RasterError, match=r'a tile of a stack is ARRAY:".*tiles\.npz":stack:0'):
        read_raster(f'ARRAY:"{path}":stack')
    assert array_shape(ArrayName(str(path), 'stack')) == (5, 3, 16, 18)


def test_npy_stack(tmp_path, stack):
    path = tmp_path / 'a.npy'
    np.save(path, stack.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(read_raster(f'ARRAY:"{path}":3'), stack[3])
    with pytest.raises(RasterError, match=r'a tile of a stack is ARRAY:".*a\.npy":0'):
        read_raster(path)
    with pytest.raises(RasterError, match='has one array without a name; expected an index'):
        read_raster(f'ARRAY:"{path}":images')


def test_a_tile_of_a_large_stack_is_not_loaded_whole(tmp_path):
    """The file is sparse: 4 TB, of which one block is stored."""
    header = np.lib.format.magic(1, 0)
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000, 1000, 1000)}"
    text += b' ' * (117 - len(text)) + b'\n'
    header += len(text).to_bytes(2, 'little') + text
    path = tmp_path / 'a.npy'
    path.write_bytes(header)
    with open(path, 'r+b') as stream:
        stream.truncate(len(header) + 4 * 10**12)
        stream.seek(len(header) + 3 * 10**12)
        stream.write(bytes([7]) * 1000)
    samples = read_raster(f'ARRAY:"{path}":3000000')
    assert samples.shape == (1, 1000, 1000)
    assert samples.sum() == 7000


def test_missing_files(tmp_path):
    for name in ('a.npy', 'a.npz', 'ARRAY:"a.npy":0', 'ARRAY:"a.npz":x'):
        with pytest.raises(RasterError, match=r'^a\.np[yz]: no such file$'):
            read_raster(name)


def test_names():
    assert parse_array_name('a.tif') is None
    assert parse_array_name('NETCDF:"x.nc":B1') is None
    assert parse_array_name('a.NPY') == ('a.NPY', '', None)
    assert parse_array_name('ARRAY:"C:\\d\\a.h5":g/images:17') == ('C:\\d\\a.h5', 'g/images', 17)
    for name in ('ARRAY:"a.h5":g/images:17', 'ARRAY:"a.npy":3', 'ARRAY:"a.npz":x', 'a.npz'):
        assert str(parse_array_name(name)) == name
    assert is_virtual('ARRAY:"a.h5":images:17')
    assert raster_stem('ARRAY:"d/a.h5":g/images:17') == 'a_g_images_17'
    assert raster_stem('ARRAY:"d/a.npy":3') == 'a_3'
    assert raster_stem('d/a.npy') == 'a'
    assert str(ArrayName('a.npy', '', 3).inside('/d')) == 'ARRAY:"/d/a.npy":3'
    assert str(ArrayName('/e/a.npz', 'x').inside('/d')) == 'ARRAY:"/e/a.npz":x'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('ARRAY:a.h5:images', r'expected ARRAY:"FILE":ARRAY, ARRAY:"FILE":ARRAY:INDEX or'),
        ('ARRAY:"a.h5"', r'not the name of an array'),
        ('ARRAY:"a.mat":x', r'arrays are read from \.npy, \.npz, \.h5, \.hdf5, not from \.mat'),
    ],
)
def test_invalid_names(name, message):
    with pytest.raises(RasterError, match=message):
        Raster(name).read()


def test_source_files(tmp_path, image):
    np.savez(tmp_path / 'a.npz', x=image, y=image)
    assert source_files(f'ARRAY:"{tmp_path}/a.npz":x') == [tmp_path / 'a.npz']


def _read_in_child(raster, queue):
    queue.put(raster.read())


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_readers_open_their_own_handle(tmp_path, image, method):
    np.save(tmp_path / 'a.npy', image)
    raster = Raster(tmp_path / 'a.npy')
    raster.read()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(raster, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=120), image)
    child.join()


def test_hdf5(h5, stack, labels):
    np.testing.assert_array_equal(read_raster(f'ARRAY:"{h5}":images:4'), stack[4])
    np.testing.assert_array_equal(read_raster(f'ARRAY:"{h5}":truth/labels:2')[0], labels[2])
    np.testing.assert_array_equal(read_raster(f'ARRAY:"{h5}":one'), stack[0])
    assert array_shape(ArrayName(str(h5), 'truth/labels')) == (5, 16, 18)
    again = pickle.loads(pickle.dumps(Raster(f'ARRAY:"{h5}":images:1')))
    np.testing.assert_array_equal(again.read(), stack[1])


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'image:0',
            r'tiles\.h5: no array image \(did you mean images\?\); it contains images, one',
        ),
        ('truth', r'no array truth; it contains images, one, truth/labels, words'),
        ('images:5', r'no index 5; the array of shape \(5, 3, 16, 18\) has 5 elements'),
        ('words', r'an array of shape \(\) has no pixels'),
    ],
)
def test_hdf5_errors(h5, name, message):
    with pytest.raises(RasterError, match=message):
        read_raster(f'ARRAY:"{h5}":{name}')


def test_damaged_hdf5(h5, tmp_path):
    content = h5.read_bytes()
    h5.write_bytes(content[: len(content) // 2])
    with pytest.raises(RasterError, match=r'tiles\.h5":images:0: the file is truncated or damaged'):
        read_raster(f'ARRAY:"{h5}":images:0')
    with pytest.raises(RasterError, match=r'no\.h5: no such file'):
        read_raster(f'ARRAY:"{tmp_path}/no.h5":images:0')


def test_hdf5_without_h5py(monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(RasterError, match=r"require h5py.*pip install 'dnas_mmseg\[h5\]'"):
        read_raster('ARRAY:"a.h5":images:0')

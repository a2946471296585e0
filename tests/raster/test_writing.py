import errno

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg import files
from dnas_mmseg.raster import RasterError, read_raster, write_raster


def test_plain_open_reads_written_tiles_unchanged(tmp_path, rng):
    """The tags of written files cause no conversion in other readers."""
    samples = rng.integers(0, 256, (4, 16, 24)).astype(np.uint8)
    write_raster(tmp_path / 'a.tif', samples)
    np.testing.assert_array_equal(gdal.Open(str(tmp_path / 'a.tif')).ReadAsArray(), samples)


def test_labels_with_palette(tmp_path):
    ids = np.array([[0, 1, 255]], np.uint8)
    write_raster(tmp_path / 'l.png', ids, palette=[(255, 0, 0), (0, 255, 0)])
    np.testing.assert_array_equal(read_raster(tmp_path / 'l.png')[0], ids)
    dataset = gdal.Open(str(tmp_path / 'l.png'))
    table = dataset.GetRasterBand(1).GetColorTable()
    assert table.GetColorEntry(1)[:3] == (0, 255, 0)
    assert table.GetColorEntry(255)[:3] == (0, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ['l.png']


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.tif'
    old = np.full((1, 8, 8), 3, np.uint8)
    write_raster(path, old)

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files, 'sync_file', full)
    with pytest.raises(RasterError, match=r'a\.tif: cannot be written.*No space left'):
        write_raster(path, old + 1)
    np.testing.assert_array_equal(read_raster(path), old)
    assert [p.name for p in tmp_path.iterdir()] == ['a.tif']


def test_unsupported_types_raise(tmp_path):
    with pytest.raises(RasterError, match='cannot write complex64; use one of uint8'):
        write_raster(tmp_path / 'a.tif', np.zeros((1, 2, 2), np.complex64))


@pytest.mark.parametrize('name', ['a.tif', 'a.png'])
def test_file_is_complete_before_it_is_renamed(tmp_path, rng, monkeypatch, name):
    samples = rng.integers(0, 255, (1, 300, 300)).astype(np.uint8)
    seen = []

    def replace(temporary, path):
        seen.append(temporary.read_bytes())
        rename(temporary, path)

    rename = files.os.replace
    monkeypatch.setattr(files.os, 'replace', replace)
    write_raster(tmp_path / name, samples)
    assert seen == [(tmp_path / name).read_bytes()]
    np.testing.assert_array_equal(read_raster(tmp_path / name), samples)

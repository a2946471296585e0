import numpy as np
import pytest

from dnas_mmseg.datasets import LabelEncoding, LabelError, class_weights
from dnas_mmseg.datasets.gid5 import PALETTE
from dnas_mmseg.datasets.labels import label_samples, read_label, resolve_label_values
from dnas_mmseg.raster import Raster, write_raster


def test_conventions_agree():
    ids = np.array([[0, 1, 2, 3, 4, 255]], np.uint8)
    index = np.where(ids == 255, 0, ids + 1).astype(np.uint8)
    table = np.zeros((256, 3), np.uint8)
    table[:5] = PALETTE
    rgb = table[ids].transpose(2, 0, 1)
    for convention, samples in (('train_id', ids[None]), ('index', index[None]), ('rgb', rgb)):
        encoded = LabelEncoding(convention, 5, PALETTE).encode(samples)
        assert encoded.dtype == np.uint8
        np.testing.assert_array_equal(encoded, ids)
    with_alpha = np.concatenate([rgb, np.full((1, 1, 6), 255, np.uint8)])
    np.testing.assert_array_equal(LabelEncoding('rgb', 5, PALETTE).encode(with_alpha), ids)


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint16, np.float32])
def test_sample_types_of_labels(dtype):
    encoded = LabelEncoding('index', 5).encode(np.array([[[0, 3, 5]]], dtype))
    np.testing.assert_array_equal(encoded, [[255, 2, 4]])


def test_unknown_values_are_counted():
    encoding = LabelEncoding('train_id', 5)
    label = np.array([[[0, 7, 7, 9, 255]]], np.uint8)
    with pytest.raises(
        LabelError, match=r'7 \(2 pixels, 40 %\), 9 \(1 pixels, 20 %\).*0 \.\. 4 and 255'
    ):
        encoding.encode(label)
    ids, unknown = encoding.encode_known(label)
    np.testing.assert_array_equal(ids, [[0, 255, 255, 255, 255]])
    assert unknown == {'7': 2, '9': 1}
    with pytest.raises(LabelError, match=r'-1 \(1 pixels, .*\), 300 \(1 pixels, '):
        encoding.encode(np.array([[[300, -1, 0]]], np.int16))
    with pytest.raises(LabelError, match=r'\(1, 2, 3\) \(1 pixels, '):
        LabelEncoding('rgb', 5, PALETTE).encode(np.array([[[1]], [[2]], [[3]]], np.uint8))


def test_other_convention_is_detected():
    with pytest.raises(LabelError, match="looks like label_convention='index'"):
        LabelEncoding('train_id', 5).encode(np.array([[[0, 1, 5]]], np.uint8))
    with pytest.raises(LabelError, match="looks like label_convention='train_id'"):
        LabelEncoding('index', 5).encode(np.array([[[0, 4, 255]]], np.uint8))
    assert LabelEncoding('train_id', 5).detect_other_convention({0, 4}) is None
    assert LabelEncoding('train_id', 5).detect_other_convention({0, 4, 255}) is None
    assert LabelEncoding('index', 5).detect_other_convention({0, 1, 5}) is None


def test_wrong_number_of_bands_raises():
    with pytest.raises(
        LabelError, match=r"3 bands, convention 'index' requires 1; .*label_convention='rgb'"
    ):
        LabelEncoding('index', 5).encode(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(LabelError, match=r'1 bands, colours require 3'):
        LabelEncoding('rgb', 5, PALETTE).encode(np.zeros((1, 2, 2), np.uint8))


def test_invalid_encodings_raise():
    with pytest.raises(LabelError, match="'ids' is unknown"):
        LabelEncoding('ids', 5)
    with pytest.raises(LabelError, match='a colour per class; the palette has 0 for 5'):
        LabelEncoding('rgb', 5)


def test_weights_are_median_over_share():
    assert class_weights([0.5, 0.25, 0.125, 0.125]) == [0.375, 0.75, 1.5, 1.5]
    assert class_weights([30, 0, 10]) == [0.6667, 0.0, 2.0]


BLACK_AND_MORE = (*((20 * i, 10 * i, 250 - 15 * i) for i in range(12)), (0, 0, 0))


def test_black_can_be_a_class():
    """Black is then not unlabelled, and other classes keep their ids."""
    encoding = LabelEncoding('rgb', 13, BLACK_AND_MORE)
    colours = np.array(BLACK_AND_MORE, np.uint8).T[:, None]
    np.testing.assert_array_equal(encoding.encode(colours), [range(13)])
    other = LabelEncoding('rgb', 13, BLACK_AND_MORE, unlabelled_colour=(1, 2, 3))
    colours = np.array([*BLACK_AND_MORE, (1, 2, 3)], np.uint8).T[:, None]
    np.testing.assert_array_equal(other.encode(colours), [[*range(13), 255]])


def test_classes_of_one_colour_raise():
    with pytest.raises(LabelError, match=r'classes 1 and 4 \(from 0\) have the same colour'):
        LabelEncoding('rgb', 5, (*PALETTE[:4], PALETTE[1]))
    LabelEncoding('index', 5, (*PALETTE[:4], PALETTE[1]))  # colours are used for display only


def paletted(path, ids, table):
    Image = pytest.importorskip('PIL.Image')
    image = Image.fromarray(ids, 'P')
    image.putpalette([part for colour in table for part in colour])
    image.save(path)


def test_paletted_label_is_read_by_its_colours(tmp_path):
    """Some programs number the colours in the order of occurrence."""
    ids = np.array([[0, 1, 2, 3, 4, 5]], np.uint8)
    table = [PALETTE[3], PALETTE[0], (0, 0, 0), PALETTE[4], PALETTE[1], PALETTE[2]]
    paletted(tmp_path / 'a.png', ids, table)
    with Raster(tmp_path / 'a.png') as raster:
        got = read_label(raster, LabelEncoding('rgb', 5, PALETTE))
        warning = LabelEncoding('train_id', 5, PALETTE).check_colour_table(raster.info.colour_table)
    np.testing.assert_array_equal(got, [[3, 0, 255, 4, 1, 2]])
    assert "gives 0 the palette's colour of class 3" in warning
    assert "'rgb' reads labels by their colours" in warning


def test_nodata_of_a_paletted_label_may_be_a_class(tmp_path):
    ids = np.array([[0, 1, 7]], np.uint8)
    table = [*PALETTE, (9, 9, 9), (8, 8, 8), (7, 7, 7)]
    for nodata, expected in ((0, [0, 1, 255]), (7, [0, 1, 255])):
        write_raster(tmp_path / 'a.tif', ids, palette=table, nodata=nodata)
        with Raster(tmp_path / 'a.tif') as raster:
            labels = LabelEncoding('rgb', 5, PALETTE)
            known, unknown = labels.encode_known(label_samples(raster, labels))
        np.testing.assert_array_equal(known, [expected])
        assert dict(unknown) == ({'(7, 7, 7)': 1} if nodata == 0 else {})


def test_colour_table_of_the_other_convention(tmp_path):
    ids = np.array([[1, 2, 5]], np.uint8)
    paletted(tmp_path / 'a.png', ids, [(0, 0, 0), *PALETTE])
    with Raster(tmp_path / 'a.png') as raster:
        table = raster.info.colour_table
    assert "'index' agrees" in LabelEncoding('train_id', 5, PALETTE).check_colour_table(table)
    assert LabelEncoding('index', 5, PALETTE).check_colour_table(table) == ''
    assert LabelEncoding('train_id', 5).check_colour_table(table) == ''


def test_error_suggests_how_to_convert_codes_with_gaps(tmp_path):
    encoding = LabelEncoding('index', 5)
    with pytest.raises(
        LabelError, match=r"10 \(1 pixels.*codes with gaps, set label_values={10: 'name', 20: ..."
    ):
        encoding.encode(np.array([[[10, 20, 50]]], np.uint8))
    with pytest.raises(LabelError, match=r'values 6 .* has 1 .. 5 and 0 .unlabelled.$'):
        encoding.encode(np.array([[[6]]], np.uint8))


def test_any_values_are_classes():
    classes, values = resolve_label_values({10: 'trees', 20: 'trees', 523: 'sea', 0: None})
    assert classes == ('trees', 'sea')
    encoding = LabelEncoding('values', 2, values=values)
    stored = np.array([[[10, 20, 523], [0, 10, 10]]], np.uint16)
    assert encoding.encode(stored).tolist() == [[0, 0, 1], [255, 0, 0]]
    assert encoding.encode(stored.astype(np.float32)).tolist() == [[0, 0, 1], [255, 0, 0]]
    small = LabelEncoding('values', 2, values=resolve_label_values((0, 255), ('a', 'b'))[1])
    assert small.encode(np.array([[[0, 255]]], np.uint8)).tolist() == [[0, 1]]


def test_colours_by_their_codes():
    classes, values = resolve_label_values({'#ff0000': 'roof', '#000000': None, '#00FF00': 'tree'})
    encoding = LabelEncoding('values', len(classes), values=values)
    colours = np.zeros((3, 1, 3), np.uint8)
    colours[0, 0, 0] = colours[1, 0, 2] = 255
    assert encoding.encode(colours).tolist() == [[0, 255, 1]]


def test_values_of_json_are_text():
    assert resolve_label_values({'10': 'a', '-1': None})[1] == ((10, 0), (-1, 255))


def test_values_without_a_class_raise():
    encoding = LabelEncoding('values', 2, values=((10, 0), (20, 1)))
    with pytest.raises(LabelError, match=r'values 30 \(1 pixels, 25 %\).*has 10, 20. Add them to'):
        encoding.encode(np.array([[[10, 20], [30, 10]]], np.uint8))


@pytest.mark.parametrize(
    ('values', 'classes', 'message'),
    [
        ((0, 1), ('a', 'b', 'c'), '2 values for 3 classes'),
        ({1: 'a', 2: 'z'}, ('a', 'b'), "maps 2 to 'z', which is not among the classes a, b"),
        ({'1': 'a', 1: 'b'}, (), 'has 1 twice'),
        ({'red': 'a'}, (), "the value 'red': expected an integer or a colour '#rrggbb'"),
        ({True: 'a'}, (), 'the value True: expected an integer'),
        ({1: 'a', '#ff0000': 'b'}, (), 'mixes integers and colours'),
        ({1: None}, (), 'has no class'),
    ],
)
def test_invalid_label_values_raise(values, classes, message):
    with pytest.raises(LabelError, match=message):
        resolve_label_values(values, classes)

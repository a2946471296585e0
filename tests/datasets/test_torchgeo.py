"""Data sets of torchgeo: samples, bands, classes and errors, on a module in its place."""

import sys

import numpy as np
import pytest
import torch

from dnas_mmseg.datasets import DatasetError, TorchGeoDataset
from dnas_mmseg.datasets.transforms.torchgeo import substitute_loading

from .fake_torchgeo import LOAD, Fields, variant


def test_samples(fields):
    dataset = fields()
    assert len(dataset) == 6
    assert dataset.metainfo['bands'] == ('blue', 'green', 'red', 'nir')
    assert dataset.metainfo['classes'] == ('unknown', 'field', 'water')
    assert dataset.metainfo['palette'] == ((0, 0, 0), (0, 200, 0), (0, 0, 200))
    for i, sample in enumerate(dataset):
        raw = dataset.source[i]
        np.testing.assert_array_equal(sample['img'], raw['image'].numpy().transpose(1, 2, 0))
        np.testing.assert_array_equal(sample['gt_seg_map'], raw['mask'].numpy())
        assert (sample['img'].dtype, sample['gt_seg_map'].dtype) == (np.float32, np.uint8)
        assert sample['img_shape'] == sample['ori_shape'] == (32, 32)
        assert sample['img_path'] == f'Fields-train-{i}'
        assert sample['bands'] == ('blue', 'green', 'red', 'nir')
        assert sample['seg_fields'] == ['gt_seg_map']
        assert 'nodata_mask' not in sample
    assert dataset.get_cat_ids(0) == np.unique(dataset.source[0]['mask']).tolist()


def test_packed_samples_are_those_of_files(fields):
    packed = fields(pipeline=[*LOAD, dict(type='PackSegInputs')], test_mode=True)[3]
    assert packed['inputs'].shape == (4, 32, 32)
    assert packed['data_samples'].img_path == 'Fields-train-3'
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, 32, 32)


def test_subset(fields):
    dataset = fields(indices=[4, 2])
    assert [sample['img_path'] for sample in dataset] == ['Fields-train-4', 'Fields-train-2']
    assert [report.image for report in dataset.inspect()] == ['Fields-train-4', 'Fields-train-2']


def test_ignored_class_is_removed(fields):
    dataset = fields(ignore_index=0)
    assert dataset.metainfo['classes'] == dataset.file_classes == ('field', 'water')
    assert dataset.metainfo['palette'] == ((0, 200, 0), (0, 0, 200))
    for i, sample in enumerate(dataset):
        mask = dataset.source[i]['mask'].numpy()
        np.testing.assert_array_equal(sample['gt_seg_map'], np.where(mask == 0, 255, mask - 1))


@pytest.mark.parametrize(
    ('values', 'settings', 'train_ids'),
    [
        ((0, 1, 2, 255), {}, (0, 1, 2, 255)),
        ((0, 1, -1, 99), dict(ignore_index=(-1, 99)), (0, 1, 255, 255)),
        ((0, 1, 2, 3), dict(label_convention='index'), (255, 0, 1, 2)),
        ((0, 1, 2, 3), dict(label_convention='index', ignore_index=2), (255, 0, 255, 1)),
        ((0, 1, 2, 255), dict(ignore_index=1), (0, 255, 1, 255)),
        ((0, 1, 2, 2), dict(metainfo=dict(classes=('water', 'field'))), (255, 1, 0, 0)),
    ],
)
@pytest.mark.parametrize('dtype', [torch.int64, torch.int16, torch.float32])
@pytest.mark.parametrize('shape', [(32, 32), (1, 32, 32)])
def test_mask_values(fields, values, settings, train_ids, dtype, shape):
    mask = torch.tensor(values).repeat_interleave(256).reshape(shape).to(dtype)
    cls = variant(sample=lambda self, image, _: dict(image=image, mask=mask))
    label = fields(cls, **settings)[0]['gt_seg_map']
    np.testing.assert_array_equal(label.ravel(), np.repeat(train_ids, 256))


def test_masks_that_are_not_numbers_are_unlabelled(fields):
    mask = torch.full((32, 32), 1.0)
    mask[3] = np.nan
    dataset = fields(variant(sample=lambda self, image, _: dict(image=image, mask=mask)))
    assert (dataset[0]['gt_seg_map'][3] == 255).all()
    assert (dataset[0]['gt_seg_map'] == 1).sum() == 31 * 32


def test_binary_masks(fields):
    cls = variant(
        classes=('no', 'yes'),
        cmap='viridis',
        sample=lambda self, image, mask: dict(image=image, mask=mask > 0),
    )
    dataset = fields(cls)
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], dataset.source[0]['mask'].numpy())
    assert len(dataset.metainfo['palette']) == 2  # a colour map without a list is not used


@pytest.mark.parametrize(
    ('dtype', 'loaded'),
    [(torch.uint8, np.uint8), (torch.int16, np.int16), (torch.int32, np.float32)],
)
def test_types_of_images(fields, dtype, loaded):
    cls = variant(sample=lambda self, image, mask: dict(image=image.to(dtype), mask=mask))
    assert fields(cls)[0]['img'].dtype == loaded


def test_invalid_pixels(fields):
    def sample(self, image, mask):
        image[:, :2] = -9  # all bands: invalid
        image[0, 4] = -9
        image[1, 8] = np.nan
        return dict(image=image, mask=mask)

    cls = variant(sample=sample)
    first = fields(cls, nodata=-9)[0]
    invalid = np.zeros((32, 32), bool)
    invalid[[0, 1, 8]] = True
    np.testing.assert_array_equal(first['nodata_mask'], invalid)
    np.testing.assert_array_equal(np.isnan(first['img']).all(2), invalid)
    assert (first['gt_seg_map'][invalid] == 255).all()
    assert (first['gt_seg_map'][~invalid] != 255).all()
    # Unselected bands do not affect validity.
    load, label = LOAD
    red = [load, dict(type='SelectBands', bands=('red',)), label]
    dataset = fields(cls, nodata=-9, pipeline=red)
    assert dataset.used_bands == ('red',)
    np.testing.assert_array_equal(np.nonzero(dataset[0]['nodata_mask'].all(1))[0], [0, 1])
    assert (dataset[0]['gt_seg_map'][8] != 255).all()
    (report, *_) = dataset.inspect(statistics=True)
    assert (report.bands, report.invalid) == (1, 64)


@pytest.mark.parametrize(
    ('settings', 'bands'),
    [
        (dict(dataset_args=dict(bands=('B04', 'B08'))), ('red', 'nir')),
        (dict(bands=('a', 'b', 'c', 'NIR')), ('a', 'b', 'c', 'nir')),
        (dict(metainfo=dict(bands=list('abcd'))), tuple('abcd')),
    ],
)
def test_band_names(fields, settings, bands):
    dataset = fields(**settings)
    assert dataset.bands == dataset.metainfo['bands'] == dataset.used_bands == bands


def test_band_numbers_that_contradict_rgb_bands(fields):
    """They are numbers of another sensor than the one that is usually meant by them."""
    with pytest.raises(DatasetError, match='the names of the 4 bands are unknown; set bands='):
        fields(variant(rgb_bands=('B08', 'B04', 'B03')))


def test_palette_of_the_config(fields):
    palette = ((1, 1, 1), (2, 2, 2), (3, 3, 3))
    assert fields(metainfo=dict(palette=palette)).metainfo['palette'] == palette
    assert fields(metainfo=dict(palette=palette), ignore_index=0).metainfo['palette'] == palette[1:]
    chosen = dict(classes=('water', 'field'), palette=palette[:2])
    assert fields(metainfo=chosen).metainfo['palette'] == palette[:2]
    chosen = dict(classes=('water', 'field'))
    assert fields(metainfo=chosen).metainfo['palette'] == ((0, 0, 200), (0, 200, 0))


def test_colour_maps(fields):
    expected = ((255, 0, 0), (0, 128, 0), (18, 52, 86))
    for cmap in (('red', 'green', '#123456'), expected, np.array(expected) / 255):
        dataset = fields(variant(cmap=cmap))
        assert tuple(dataset.metainfo['palette']) == expected


@pytest.mark.parametrize(
    ('cls', 'settings', 'message'),
    [
        (Fields, dict(split='test'), 'Fields has no split test; it has train, val'),
        (Fields, dict(root='no'), 'Fields: root no: no such folder'),
        (
            Fields,
            dict(root='.'),
            "Fields of torchgeo: Dataset not found in `root='.'` and `download=False`",
        ),
        (
            Fields,
            dict(dataset_args=dict(band=1)),
            'Fields of torchgeo has no argument band (did you mean bands?); it accepts root, split,'
            ' bands, transforms, download',
        ),
        (
            Fields,
            dict(bands=('red', 'nir')),
            'Fields-train-0: 4 bands, expected 2 (red, nir); set bands=(...), in the order of the '
            'image',
        ),
        (
            variant(size=0),
            {},
            'Fields-train: no samples in ',
        ),
        (
            variant(sample=lambda self, image, mask: dict(image=image, label=1)),
            {},
            '  - Fields-train-0: the sample has no mask, so Fields-train is not a data set for '
            'segmentation, or this split has no labels',
        ),
        (
            variant(sample=lambda self, image, mask: dict(image1=image, mask=mask)),
            {},
            'Fields-train-0: the sample has no image; it contains image1, mask',
        ),
        (
            variant(sample=lambda self, image, mask: dict(image=image[None], mask=mask)),
            {},
            'Fields-train-0: an image of shape (1, 4, 32, 32); expected (bands, height, width)',
        ),
        (
            variant(sample=lambda self, image, mask: dict(image=image, mask=mask[:8])),
            {},
            'Fields-train-0: a mask of shape (8, 32) for an image of (32, 32)',
        ),
        (
            variant(sample=lambda self, image, mask: 1 / 0),
            {},
            'Fields-train-0: torchgeo cannot load it: division by zero',
        ),
        (
            variant(classes=('a', 'b')),
            {},
            'are not classes; classes are 0 a, 1 b, and 255 is unlabelled. Set ignore_index, '
            'label_convention, or metainfo=dict(classes=...)',
        ),
        (
            variant(classes=None),
            {},
            'Fields: the classes are unknown; set metainfo=dict(classes=(...)), in the order of the'
            ' mask values',
        ),
        (
            Fields,
            dict(metainfo=dict(classes=('field', 'sea'))),
            'metainfo classes sea are not among those of the files (unknown, field, water)',
        ),
        (
            Fields,
            dict(metainfo=dict(palette=((0, 0, 0),))),
            'Fields: 1 colours in the palette, 3 classes',
        ),
        (
            Fields,
            dict(label_convention='rgb'),
            "label_convention='rgb': masks contain indices; cho",
        ),
        (
            Fields,
            dict(pipeline=[dict(type='PackSegInputs')]),
            "Fields: the pipeline loads no image: it must start with dict(type='LoadRasterFromFile"
            "'), which this data set replaces",
        ),
        (
            Fields,
            dict(pipeline=[LOAD[0], dict(type='SelectBands', bands=('swir16',))]),
            'SelectBands: no band swir16 among those of the data set, blue, green, red, nir',
        ),
    ],
)
def test_errors(fields, cls, settings, message):
    with pytest.raises((DatasetError, ValueError)) as error:
        fields(cls, **settings)
    assert message in str(error.value)


def test_unknown_bands(fields):
    cls = variant(all_bands=None, __init__=lambda self, root, split: setattr(self, 'offset', 0))
    cls.__getitem__ = lambda self, i: dict(
        image=torch.zeros(5, 8, 8), mask=torch.zeros(8, 8, dtype=torch.int64)
    )
    with pytest.raises(DatasetError) as error:
        fields(cls)
    assert str(error.value) == (
        'Fields: the names of the 5 bands are unknown; set bands=(...), in the order of the image'
    )
    assert fields(cls, bands=tuple('abcde'))[0]['img'].shape == (8, 8, 5)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('Felds', 'torchgeo.datasets has no Felds (did you mean Fields?)'),
        (
            'RasterDataset',
            'RasterDataset is not a NonGeoDataset of torchgeo: its samples are cut from rasters by '
            'a sampler; write them as tiles by dnas_mmseg.apis.cut_geo_dataset and use '
            'MultiBandSegDataset',
        ),
        (
            'DatasetNotFoundError',
            'DatasetNotFoundError is not a NonGeoDataset of torchgeo: it is not ',
        ),
    ],
)
def test_unsuitable_names(fake, name, message):
    with pytest.raises(DatasetError) as error:
        TorchGeoDataset(name)
    assert str(error.value).startswith(message)


def test_without_torchgeo(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchgeo', None)
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', None)
    with pytest.raises(DatasetError, match=r"requires torchgeo.*pip install 'dnas_mmseg\[torchgeo"):
        TorchGeoDataset('LoveDA')


def test_splits_without_masks_load_images(fields):
    cls = variant(sample=lambda self, image, mask: dict(image=image))
    assert 'gt_seg_map' not in fields(cls, pipeline=LOAD[:1])[0]


def test_substituted_transforms():
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    pipeline = [
        dict(type='LoadImageFromFile', imdecode_backend='cv2'),
        dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadAnnotations')]]),
    ]
    assert substitute_loading(pipeline) == [
        dict(type='LoadTorchGeoImage'),
        dict(type='TestTimeAug', transforms=[flips, [dict(type='LoadTorchGeoMask')]]),
    ]

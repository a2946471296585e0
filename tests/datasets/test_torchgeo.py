"""Data sets of torchgeo: a module in its place, and torchgeo itself where it is installed."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from dnas_mmseg.datasets import DatasetError, TorchGeoDataset, dataset_parts
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.datasets.transforms.torchgeo import substitute_loading
from dnas_mmseg.engine.dataset_report import check_dataset
from dnas_mmseg.engine.running import test as run_test
from dnas_mmseg.engine.running import train, weight_classes
from dnas_mmseg.raster import write_raster

LOAD = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
S2 = ('B02', 'B03', 'B04', 'B08')


class NonGeoDataset:
    pass


class GeoDataset:
    pass


class RasterDataset(GeoDataset):
    pass


class DatasetNotFoundError(FileNotFoundError):
    pass


class Fields(NonGeoDataset):
    """Four bands of Sentinel-2, three classes; the first band determines the class."""

    splits = ('train', 'val')
    all_bands = S2
    rgb_bands = ('B04', 'B03', 'B02')
    classes = ('unknown', 'field', 'water')
    cmap: object = {0: (0, 0, 0, 0), 1: (0, 200, 0, 255), 2: (0, 0, 200, 255)}
    size = 6

    def __init__(
        self, root='data', split='train', bands=all_bands, transforms=None, download=False
    ):
        if not (Path(root) / split).is_dir():
            raise DatasetNotFoundError(
                f"Dataset not found in `root='{root}'`\nand `download=False`"
            )
        self.bands = bands
        self.offset = 0 if split == 'train' else 100

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        rng = np.random.default_rng(self.offset + index)
        mask = np.repeat(rng.integers(0, 3, (4, 8)), 8, axis=0).repeat(4, axis=1)
        image = rng.integers(0, 100, (4, 32, 32)) + 1000 * mask
        places = [S2.index(band) for band in self.bands]
        return self.sample(torch.from_numpy(image[places]).float(), torch.from_numpy(mask))

    def sample(self, image, mask):
        return dict(image=image, mask=mask)


def variant(**attributes):
    return type('Variant', (Fields,), attributes)


@pytest.fixture
def fake(monkeypatch):
    """Function that adds classes to a module in the place of ``torchgeo.datasets``."""
    module = ModuleType('torchgeo.datasets')
    for cls in (NonGeoDataset, GeoDataset, RasterDataset, DatasetNotFoundError, Fields):
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, 'torchgeo', ModuleType('torchgeo'))
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', module)
    return lambda **classes: [setattr(module, name, cls) for name, cls in classes.items()]


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        (tmp_path / 'fields' / split).mkdir(parents=True)
    return str(tmp_path / 'fields')


@pytest.fixture
def fields(fake, root):
    """Function that builds a data set; ``cls`` replaces the class."""

    def build(cls=Fields, **settings):
        fake(Fields=cls)
        settings = dict(root=root, split='train', pipeline=LOAD) | settings
        return DATASETS.build(dict(type='TorchGeoDataset', dataset='Fields', **settings))

    return build


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


def make_config(tmp_path, root, **settings):
    """Config that trains a small network on Fields for two epochs."""

    def loader(split, **options):
        dataset = dict(
            type='TorchGeoDataset', dataset='Fields', root=root, split=split,
            pipeline=[*LOAD, dict(type='PackSegInputs')], **settings, **options,
        )  # fmt: skip
        return dict(
            batch_size=2, num_workers=0, dataset=dataset, drop_last=split == 'train',
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        )  # fmt: skip

    (tmp_path / 'fields.py').write_text(
        f"_base_ = '{Path(__file__).parents[2]}/configs/_base_/default_runtime.py'\n"
    )
    config = Config.fromfile(str(tmp_path / 'fields.py'))
    evaluators = [dict(type='ConfusionMetric'), dict(type='IoUMetric', prefix='stock')]
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'work'),
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='MultiBandDataPreProcessor', mean=[1000.0] * 4, std=[800.0] * 4
                ),
                backbone=dict(
                    type='UNet', in_channels=4, base_channels=4, num_stages=2, strides=(1, 1),
                    enc_num_convs=(1, 1), dec_num_convs=(1,), downsamples=(True,),
                    enc_dilations=(1, 1), dec_dilations=(1,),
                ),
                decode_head=dict(
                    type='FCNHead', in_channels=4, in_index=1, channels=4, num_convs=1,
                    num_classes=3, loss_decode=dict(type='LabelledCrossEntropyLoss'),
                ),
                train_cfg=dict(), test_cfg=dict(mode='whole'),
            ),
            train_dataloader=loader('train'),
            val_dataloader=loader('val', test_mode=True),
            test_dataloader=loader('val', test_mode=True),
            val_evaluator=evaluators[:1],
            test_evaluator=evaluators,
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=4),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.02)),
            default_hooks=dict(
                visualization=dict(type='MultiBandVisualizationHook', interval=1, number=1)
            ),
            randomness=dict(seed=0),
        )
    )  # fmt: skip
    return config


def test_training_and_test(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    runner = train(config)
    assert runner.epoch == 4
    assert [type(part) for part in dataset_parts(runner.train_dataloader.dataset)] == [
        TorchGeoDataset
    ]
    pictures = sorted(path.name for path in Path(config.work_dir).rglob('val_*.png'))
    assert pictures == ['val_Fields-val-0_12.png']
    again = make_config(tmp_path, root)
    scores = run_test(again, str(tmp_path / 'work/epoch_4.pth'), flips=True)
    assert set(scores) >= {'mIoU', 'OA', 'IoU.water'}
    assert scores['stock/mIoU'] == pytest.approx(scores['mIoU'])
    assert scores['stock/aAcc'] == pytest.approx(scores['OA'])
    assert scores['OA'] > 50


def test_check(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    report = check_dataset(config)
    (train_split, val_split, _) = report.splits
    dataset = TorchGeoDataset('Fields', root=root, split='train', pipeline=LOAD)
    images = np.stack([dataset.source[i]['image'].numpy() for i in range(6)])
    masks = np.stack([dataset.source[i]['mask'].numpy() for i in range(6)])
    np.testing.assert_allclose(train_split.summary.mean, images.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(train_split.summary.std, images.std((0, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(train_split.summary.class_pixels, np.bincount(masks.ravel()))
    assert 'bands: blue, green, red, nir' in train_split.config_text()
    assert train_split.problems == val_split.problems == []
    assert report.problems == ['6 tiles are in val and in test, e.g. Fields-val-0']
    assert train_split.summary.notes == [
        'Fields-train: torchgeo decodes the files; their nodata tags, masks and georeference are '
        'not checked'
    ]
    parallel = list(dataset.inspect(statistics=True, workers=2))
    assert [r.digest for r in parallel] == [r.digest for r in dataset.inspect(statistics=True)]


def test_class_weights(fake, tmp_path, root):
    config = make_config(tmp_path, root)
    weights = weight_classes(config)
    assert len(weights) == 3
    assert config.model.decode_head.loss_decode.class_weight == weights


def test_wrappers_and_workers(fake, root):
    part = dict(type='TorchGeoDataset', dataset='Fields', root=root)
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    parts = [dict(part, split=split, pipeline=pipeline) for split in ('train', 'val')]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    loader = DataLoader(dataset, 4, num_workers=2, collate_fn=pseudo_collate)
    samples = [sample for batch in loader for sample in batch['data_samples']]
    assert [sample.img_path for sample in samples] == [
        f'Fields-{split}-{i}' for split in ('train', 'val') for i in range(6)
    ]
    mixed = DATASETS.build(
        dict(type='MultiImageMixDataset', dataset=dict(parts[0], pipeline=LOAD),
             pipeline=[dict(type='RandomClassMix', prob=1.0), dict(type='PackSegInputs')])
    )  # fmt: skip
    assert mixed[0]['inputs'].shape == (4, 32, 32)


def test_name_of_a_data_set_is_no_wrapper():
    leaf = dict(type='TorchGeoDataset', dataset='LoveDA')
    loader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=leaf))
    assert list(leaf_datasets(loader)) == [leaf]


class TestTorchGeo:
    """torchgeo itself, on small files in the layouts of its data sets."""

    @pytest.fixture(autouse=True)
    def _torchgeo(self):
        pytest.importorskip('torchgeo.datasets')

    @pytest.fixture
    def loveda(self, tmp_path, rng):
        for scene in ('Urban', 'Rural'):
            for i in range(2):
                image = rng.integers(0, 255, (3, 32, 32)).astype(np.uint8)
                mask = rng.integers(0, 8, (32, 32)).astype(np.uint8)
                for split in ('Train', 'Val'):
                    folder = tmp_path / 'loveda' / split / scene
                    write_raster(folder / f'images_png/{i}.png', image)
                    write_raster(folder / f'masks_png/{i}.png', mask)
        return str(tmp_path / 'loveda')

    def test_loveda(self, loveda):
        from PIL import Image

        dataset = TorchGeoDataset('LoveDA', root=loveda, split='train', pipeline=LOAD)
        assert len(dataset) == 4
        assert dataset.metainfo['bands'] == ('red', 'green', 'blue')
        assert dataset.metainfo['classes'] == (
            'background', 'building', 'road', 'water', 'barren', 'forest', 'agriculture',
        )  # fmt: skip
        folder = Path(loveda) / 'Train/Rural'
        sample = dataset[1]
        np.testing.assert_array_equal(sample['img'], Image.open(folder / 'images_png/1.png'))
        mask = np.array(Image.open(folder / 'masks_png/1.png'))
        np.testing.assert_array_equal(sample['gt_seg_map'], np.where(mask == 0, 255, mask - 1))
        assert sample['gt_seg_map'].dtype == np.uint8
        urban = TorchGeoDataset(
            'LoveDA', root=loveda, split='train', dataset_args=dict(scene=['urban'])
        )
        assert len(urban) == 2

    def test_loveda_is_missing(self, tmp_path):
        with pytest.raises(DatasetError) as error:
            TorchGeoDataset('LoveDA', root=str(tmp_path), split='val')
        assert str(error.value).startswith(
            f"LoveDA of torchgeo: Dataset not found in `root='{tmp_path}'` and "
        )

    def test_bands_of_sen12ms(self, tmp_path, rng):
        for name in ('train_list.txt', 'test_list.txt'):
            (tmp_path / name).write_text('ROIs1158_spring_lc_1_p1.tif\n')
        folder = tmp_path / 'ROIs1158_spring'
        s2 = rng.integers(0, 9000, (13, 16, 16)).astype(np.uint16)
        write_raster(folder / 's2_1/ROIs1158_spring_s2_1_p1.tif', s2)
        s1 = rng.normal(-10, 2, (2, 16, 16)).astype(np.float32)
        write_raster(folder / 's1_1/ROIs1158_spring_s1_1_p1.tif', s1)
        classes = rng.integers(1, 18, (4, 16, 16)).astype(np.uint16)
        write_raster(folder / 'lc_1/ROIs1158_spring_lc_1_p1.tif', classes)
        for name in ('ROIs1868_summer', 'ROIs1970_fall', 'ROIs2017_winter'):
            (tmp_path / name).mkdir()
        dataset = TorchGeoDataset(
            'SEN12MS',
            root=str(tmp_path),
            split='train',
            label_convention='index',
            metainfo=dict(classes=[f'igbp {i}' for i in range(1, 18)]),
            pipeline=LOAD,
        )
        assert dataset.bands == (
            'vv', 'vh', 'coastal', 'blue', 'green', 'red', 'rededge071', 'rededge075',
            'rededge078', 'nir', 'nir08', 'nir09', 'cirrus', 'swir16', 'swir22',
        )  # fmt: skip
        image = dataset[0]['img']
        np.testing.assert_array_equal(image[..., :2].transpose(2, 0, 1), s1)
        np.testing.assert_array_equal(image[..., 2:].transpose(2, 0, 1), s2)
        np.testing.assert_array_equal(dataset[0]['gt_seg_map'], classes[0] - 1)

    def test_geo_data_sets_are_refused(self):
        with pytest.raises(DatasetError, match=r'NAIP is not a NonGeoDataset of torchgeo.*sampler'):
            TorchGeoDataset('NAIP')
        with pytest.raises(DatasetError, match=r'has no LovDA \(did you mean LoveDA'):
            TorchGeoDataset('LovDA')

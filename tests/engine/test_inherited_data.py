"""Values of dataset.json in place of inherited ones."""

import pytest
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.engine.configs import load_config

from ..conftest import ROOT, make_data_root

BANDS = ('red', 'nir', 'swir16')


@pytest.fixture
def root(tmp_path):
    """Data root that describes three bands and two classes."""
    path = make_data_root(tmp_path / 'data', describe=False)
    DatasetDescription(
        bands=BANDS, classes=('land', 'water'), label_convention='train_id',
        mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0),
    ).save(path)  # fmt: skip
    return path


def load(tmp_path, root, *lines, base='unet/unet_lite0.py'):
    data = f"tiles = dict(data_root='{root}')"
    loaders = [f'{s}_dataloader = dict(dataset=tiles)' for s in ('train', 'val', 'test')]
    text = '\n'.join([f"_base_ = '{ROOT}/configs/{base}'", data, *loaders, *lines])
    (tmp_path / 'mine.py').write_text(text)
    return load_config(tmp_path / 'mine.py')


def test_inherited_values_give_way(tmp_path, root):
    config = load(tmp_path, root)
    assert config.model.decode_head.num_classes == 2
    assert config.model.backbone.in_channels == 3
    assert tuple(config.model.backbone.init_cfg.bands) == BANDS
    assert config.model.data_preprocessor.mean == [1, 2, 3]
    assert config.model.data_preprocessor.std == [4, 5, 6]
    config.model.backbone.init_cfg = None
    MODELS.build(config.model)


def test_values_of_the_config_stay(tmp_path, root):
    config = load(
        tmp_path, root,
        'model = dict(decode_head=dict(num_classes=7), data_preprocessor=dict(mean=[9, 9, 9]))',
    )  # fmt: skip
    assert config.model.decode_head.num_classes == 7
    assert config.model.data_preprocessor.mean == [9, 9, 9]
    assert config.model.data_preprocessor.std == [4, 5, 6]


def test_an_inherited_label_convention_gives_way(tmp_path, root):
    config = load(tmp_path, root, base='unet/unet_lite0_naip.py')
    dataset = config.train_dataloader.dataset
    assert 'label_convention' not in dataset
    assert config.model.decode_head.num_classes == 2
    again = load(
        tmp_path, root, "tiles['label_convention'] = 'train_id'", base='unet/unet_lite0_naip.py'
    )
    assert again.train_dataloader.dataset.label_convention == 'train_id'


def test_selected_bands_determine_the_model(tmp_path, root):
    config = load(tmp_path, root, "tiles['use_bands'] = ('swir16', 'red')")
    assert config.model.backbone.in_channels == 2
    assert tuple(config.model.backbone.init_cfg.bands) == ('swir16', 'red')
    assert config.model.data_preprocessor.mean == [3, 1]


def test_published_normalisation_stays_for_the_same_bands_and_classes(tmp_path, data_root):
    path = ROOT / 'configs/dnas/dnas_l12_gid5.py'
    plain, described = load_config(path), load_config(path, data_root=data_root)
    assert described.model == plain.model


@pytest.mark.parametrize('bands', [BANDS[::-1], ('nir', 'red', 'green')])
def test_normalisation_belongs_to_the_bands(tmp_path, bands):
    """Also where their number is that of the inherited ones."""
    root = make_data_root(tmp_path / 'data', describe=False)
    DatasetDescription(
        bands=bands, classes=('land', 'water'), label_convention='train_id',
        mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0),
    ).save(root)  # fmt: skip
    config = load(tmp_path, root, base='dnas/dnas_l12_w16_gid5-rgb.py')
    assert config.model.backbone.in_channels == 3
    assert config.model.data_preprocessor.mean == [1, 2, 3]


def test_merged_classes_and_selected_bands_of_the_config_stay(tmp_path, root):
    """Even if a value equals the inherited one."""
    config = load(
        tmp_path, root,
        "tiles['label_values'] = {i: f'class {i % 5}' for i in range(7)}",
        'model = dict(decode_head=dict(num_classes=5))',
    )  # fmt: skip
    assert config.model.decode_head.num_classes == 5
    steps = "[dict(type='LoadRasterFromFile'), dict(type='SelectBands', bands=('nir', 'red'))]"
    config = load(tmp_path, root, f"tiles['pipeline'] = {steps}")
    assert config.model.backbone.in_channels == 2
    assert config.model.data_preprocessor.mean == [2, 1]


def test_data_sets_are_compared_with_those_of_their_split(tmp_path, root):
    """Two sets for training do not shift the pairs of the other splits."""
    config = load(
        tmp_path, root,
        "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=["
        "dict(type='MultiBandSegDataset', ann_file='train.txt', pipeline=[], **tiles)] * 2))",
        base='unet/unet_lite0_naip.py',
    )  # fmt: skip
    for split in ('val', 'test'):
        assert 'label_convention' not in config[f'{split}_dataloader'].dataset


def test_without_a_description_nothing_changes(tmp_path):
    root = make_data_root(tmp_path / 'data', describe=False)
    config = load(tmp_path, root)
    assert config.model.decode_head.num_classes == 5
    assert DATASETS.get(config.train_dataloader.dataset.type).__name__ == 'MultiBandSegDataset'


def test_bases_with_variables_of_mmengine(tmp_path, root, monkeypatch):
    monkeypatch.setenv('CONFIGS', str(ROOT / 'configs'))
    for base in ('{{$CONFIGS:/nowhere}}/unet/unet_lite0.py', '{{ fileDirname }}/base.py'):
        (tmp_path / 'base.py').write_text(f"_base_ = '{ROOT}/configs/unet/unet_lite0.py'")
        text = f"_base_ = ['{base}']\ntrain_dataloader = dict(dataset=dict(data_root='{root}'))"
        (tmp_path / 'mine.py').write_text(text)
        assert load_config(tmp_path / 'mine.py').model.decode_head.num_classes == 2

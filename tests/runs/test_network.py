import json

import pytest
import torch
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.runs.network import describe_replacement, network_config
from dnas_mmseg.search.stages import retrain_config, stage_config

from ..conftest import ROOT, make_data_root


def test_config_without_a_model(plan, tmp_path):
    root = tmp_path / 'data'
    description = json.loads((root / 'dataset.json').read_text())
    config = tmp_path / 'data.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/_base_/datasets/gid5.py'\n"
        + ''.join(
            f"{split}_dataloader = dict(dataset=dict(type='MultiBandSegDataset', "
            f"data_root='{root}', metainfo=dict(classes=('a', 'b', 'c', 'd', 'e'))))\n"
            for split in ('train', 'val', 'test')
        )
    )
    plan = SearchPlan(**{**plan.__dict__, 'config': str(config)})
    (root / 'dataset.json').write_text(json.dumps({**description, 'classes': list('abcde')}))
    with pytest.raises(UserError, match=r'no dataset\.json with mean and std'):
        stage_config(plan, 'path', None)
    complete = {**description, 'classes': list('abcde'), 'mean': [1, 2, 3, 4], 'std': [5, 6, 7, 8]}
    (root / 'dataset.json').write_text(json.dumps(complete))
    made = retrain_config(plan, 'dnas_l12_gid5')
    assert made.model.data_preprocessor.mean == [1, 2, 3, 4]
    assert made.model.decode_head.num_classes == 5
    assert made.train_dataloader.dataset.type == 'MultiBandSegDataset'


def test_config_of_another_network_keeps_data_and_schedule(plan, tmp_path):
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{ROOT}/configs/unet/unet_lite0_gid5-rgb.py'\n"
        'model = dict(decode_head=dict(num_classes=3), data_preprocessor=dict(mean=[1.0] * 3))\n'
        'train_cfg = dict(max_epochs=7)\n'
    )
    plan = SearchPlan(**{**plan.__dict__, 'config': str(tmp_path / 'mine.py')})
    made = retrain_config(plan, 'dnas_l12_gid5')
    assert (made.model.backbone.type, made.model.decode_head.type) == ('DNAS', 'DNASHead')
    assert (made.model.backbone.in_channels, made.model.decode_head.num_classes) == (3, 3)
    assert made.model.data_preprocessor.mean == [1.0] * 3
    assert [loss.type for loss in made.model.decode_head.loss_decode] == [
        'LabelledCrossEntropyLoss', 'LabelledDiceLoss',
    ]  # fmt: skip
    assert made.train_cfg.max_epochs == 7
    assert 'paramwise_cfg' not in made.optim_wrapper


@pytest.mark.parametrize('name', ['fpn/fpn_r18_naip.py', 'unet/unet_lite0_naip.py'])
def test_encoders_of_a_space_are_other_networks(name):
    """EfficientNet-Lite0 is in the space, but a search does not start from a U-Net with it."""
    source = load_config(ROOT / 'configs' / name)
    made = network_config(SearchPlan('densenas', config=str(ROOT / 'configs' / name)))
    assert made.supernet.widths == ((12,), (16, 20), (24, 28, 32), (40, 48, 56), (64, 80))
    assert made.model.decode_head.type == 'DepthwiseSeparableASPPHead'
    assert made.model.backbone.get('init_cfg') is None
    assert 'paramwise_cfg' not in made.optim_wrapper
    assert made.train_dataloader == source.train_dataloader
    own = str(ROOT / 'configs/densenas/densenas_b_gid5.py')
    made = network_config(SearchPlan('densenas', config=own))
    assert made.model.backbone.architecture == 'densenas_b'
    assert 'supernet' not in made


def test_data_sets_with_a_type_replace_the_default_ones(plan, tmp_path):
    """Lists and arguments of the default data set are removed."""
    roots = [make_data_root(tmp_path / name, count=n, describe=False) for name, n in
             (('one', 4), ('two', 12))]  # fmt: skip
    for root, mean in zip(roots, (10.0, 20.0), strict=True):
        DatasetDescription(
            bands=BANDS, classes=('a', 'b', 'c', 'd', 'e'), label_convention='train_id',
            mean=(mean,) * 4, std=(2.0,) * 4,
        ).save(root)  # fmt: skip
    parts = [dict(type='MultiBandSegDataset', data_root=str(root)) for root in roots]
    config = tmp_path / 'data.py'
    config.write_text(
        f"train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets={parts}))\n"
        f'val_dataloader = dict(dataset={parts[0]})\n'
        f'test_dataloader = dict(dataset={parts[0]})\n'
    )
    plan = SearchPlan(**{**plan.__dict__, 'config': str(config)})
    made = retrain_config(plan, 'dnas_l12_gid5')
    train_set, val_set = made.train_dataloader.dataset, made.val_dataloader.dataset
    assert set(train_set) == {'type', 'datasets'}
    assert set(val_set) == {'type', 'data_root', 'pipeline', 'test_mode'}  # paired by folders
    assert train_set.datasets[0].pipeline[0].type == 'LoadRasterFromFile'
    assert len(DATASETS.build(train_set)) == 16
    # A quarter of the tiles have a mean of 10, the others of 20.
    assert made.model.data_preprocessor.mean == [17.5] * 4
    expected = (0.25 * (4 + 100) + 0.75 * (4 + 400) - 17.5**2) ** 0.5
    assert made.model.data_preprocessor.std == pytest.approx([expected] * 4, abs=1e-4)


@pytest.mark.parametrize(
    ('space', 'name', 'supernet'),
    [
        ('dnas', 'dnas/dnas_l14_path-search_gid5.py', 'DNASPathSupernet'),
        ('dnas', 'dnas/dnas_l14_cell-search_gid5.py', 'DNASCellSupernet'),
        ('densenas', 'densenas/densenas_res-search_gid5.py', 'DenseNASSupernet'),
        ('dnas', 'autodeeplab/autodeeplab_search_cityscapes.py', 'AutoDeepLabSupernet'),
    ],
)
def test_configs_of_stages_are_refused(space, name, supernet):
    plan = SearchPlan(space, config=f'dnas_mmseg::{name}')
    for use in (network_config, describe_replacement):  # no note precedes the error
        with pytest.raises(UserError, match=rf'backbone {supernet}.*dnas train, or .* supernet = '):
            use(plan)


def test_replaced_networks_are_announced():
    config = 'dnas_mmseg::unet/fcn_unet_s5_naip.py'
    note = describe_replacement(SearchPlan('densenas', config=config))
    assert note == (
        f'{config} has no network of space densenas, but UNet: its data, losses and schedule are '
        'used with the network of dnas_mmseg::densenas/densenas_narrow_naip.py'
    )
    for own in (None, 'dnas_mmseg::densenas/densenas_b_gid5.py'):
        assert describe_replacement(SearchPlan('densenas', config=own)) is None


def test_supernet_arguments_of_a_replaced_network():
    """Those of another space are dropped; with a network of no space they are the user's."""
    plan = SearchPlan('dnas', config='dnas_mmseg::densenas/densenas_narrow_naip.py')
    assert 'supernet' not in network_config(plan)
    assert stage_config(plan, 'path', None).model.backbone.base_channels == 16
    plan = SearchPlan('autodeeplab', config='dnas_mmseg::unet/fcn_unet_s5_naip.py')
    own = SearchPlan(**{**plan.__dict__, 'options': {'supernet.layers': 7}})
    layers = [stage_config(p, 'cell', None).model.backbone.layers for p in (plan, own)]
    assert layers == [6, 7]


def test_heads_with_explicit_channels_follow_the_network(plan, tiny):
    with tiny[1].open('a') as file:
        file.write(
            "model = dict(type='EncoderDecoder', backbone=dict(base_channels=2), decode_head=dict("
            'channels=8, in_channels=[2, 4, 8, 16], in_index=[0, 1, 2, 3]), auxiliary_head=dict('
            "type='DepthwiseSeparableASPPHead', in_channels=16, in_index=3, c1_in_channels=2, "
            "c1_channels=4, channels=4, dilations=(1,), num_classes=5, norm_cfg=dict(type='BN'), "
            "loss_decode=dict(type='LabelledCrossEntropyLoss')))\n"
        )
    found = 'dnas_l12_gid5'
    for config in (stage_config(plan, 'path', None), retrain_config(plan, found)):
        config.model.backbone.base_channels = 4
        model = MODELS.build(config.model)
        assert model(torch.zeros(1, 4, 32, 32)).shape[:2] == (1, 5)
        assert model.auxiliary_head.in_channels == model.backbone.out_channels[-1]
    with tiny[1].open('a') as file:
        file.write(
            "model['neck'] = dict(type='FPN', in_channels=[2], out_channels=4, num_outs=1)\n"
        )
    with pytest.raises(UserError, match=r'model\.neck: .*remove the neck'):
        network_config(plan)

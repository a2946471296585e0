"""Errors in configs are found before anything is built, and reported in one line."""

from importlib.util import find_spec
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmseg.models.backbones.resnet import ResNet

from dnas_mmseg.datasets.description import DatasetDescription
from dnas_mmseg.engine.config_validation import validate_config
from dnas_mmseg.errors import UserError

BACKBONE = dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=2)
HEAD = dict(type='DNASHead', num_classes=5, channels=8)
MODEL = dict(type='SearchedEncoderDecoder', backbone=BACKBONE, decode_head=HEAD)


def message_of(**sections):
    with pytest.raises(UserError) as caught:
        validate_config(Config(sections))
    text = str(caught.value)
    assert '\n' not in text
    return text


def with_head(**settings):
    return message_of(model={**MODEL, 'decode_head': {**HEAD, **settings}})


def test_unknown_arguments_are_reported_with_the_accepted_ones():
    text = message_of(model={**MODEL, 'backbone': {**BACKBONE, 'base_chanels': 8}})
    assert text.startswith(
        "model.backbone: DNAS has no argument 'base_chanels' (did you mean base_channels?); it "
        'accepts architecture, in_channels, base_channels'
    )


def test_arguments_of_base_classes_are_accepted():
    text = with_head(num_clases=3)
    assert text.startswith(
        "model.decode_head: DNASHead has no argument 'num_clases' (did you mean num_classes?)"
    )
    stock = dict(type='FCNHead', in_channels=4, channels=4, num_classes=5, in_index=0)
    text = message_of(model={**MODEL, 'decode_head': {**stock, 'droput_ratio': 0.2}})
    assert "FCNHead has no argument 'droput_ratio' (did you mean dropout_ratio?)" in text
    assert 'num_convs' in text
    validate_config(Config(dict(model={**MODEL, 'decode_head': {**stock, 'dropout_ratio': 0.2}})))


def test_classes_that_forward_kwargs_accept_any_argument():
    """For example arguments of timm models."""
    backbone = dict(type='TIMMBackbone', model_name='resnet18', in_channels=4, drop_path_rate=0.1)
    validate_config(Config(dict(model={**MODEL, 'backbone': backbone})))


def test_layers_optimizers_and_loaders():
    assert "norm_cfg: BatchNorm2d has no argument 'epss' (did you mean eps?)" in with_head(
        norm_cfg=dict(type='BN', epss=1)
    )
    validate_config(
        Config(dict(model={**MODEL, 'backbone': {**BACKBONE, 'norm_cfg': dict(
            type='BN', requires_grad=True)}}))
    )  # fmt: skip
    text = message_of(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lrr=0.1)))
    assert "optim_wrapper.optimizer: SGD has no argument 'lrr' (did you mean lr?)" in text
    text = message_of(train_dataloader=dict(batchsize=2))
    assert "DataLoader has no argument 'batchsize' (did you mean batch_size?)" in text
    text = message_of(train_cfg=dict(by_epoch=True, max_epoch=3))
    assert "EpochBasedTrainLoop has no argument 'max_epoch' (did you mean max_epochs?)" in text


def test_missing_arguments():
    text = message_of(model={**MODEL, 'backbone': dict(type='DNAS')})
    assert text == "model.backbone: DNAS requires 'architecture', missing in the config"
    stock = {**MODEL, 'type': 'EncoderDecoder'}
    text = message_of(model=stock)
    assert text == "model.decode_head: DNASHead requires 'in_channels', missing in the config"
    validate_config(
        Config(dict(model=MODEL))
    )  # SearchedEncoderDecoder sets in_channels from the backbone


def test_unknown_classes():
    text = message_of(model={**MODEL, 'backbone': dict(type='DNASS')})
    assert text.startswith(
        "model.backbone: type='DNASS': no such class in the registry mmseg::model (did you mean"
    )
    text = message_of(default_hooks=dict(loger=dict(interval=3)))
    assert text == "default_hooks.loger: {'interval': 3} has no 'type'"
    pipeline = [dict(type='RandomChoice', transforms=[[dict(type='RandomFlipp')]])]
    loader = dict(dataset=dict(type='MultiBandSegDataset', pipeline=pipeline))
    text = message_of(train_dataloader=loader)
    assert text.startswith(
        "train_dataloader.dataset.pipeline[0].transforms[0][0]: type='RandomFlipp': no such class"
    )
    assert 'did you mean RandomFlip?' in text


def test_types_may_be_classes():
    text = message_of(model={**MODEL, 'backbone': dict(type=ResNet, depht=18)})
    assert "ResNet has no argument 'depht' (did you mean depth?)" in text


@pytest.mark.parametrize('key', ['classes', 'bands'])
def test_parts_with_different_classes_or_bands_are_refused(data_root, key):
    part = dict(
        type='MultiBandSegDataset', data_root=str(data_root), ann_file='train.txt', pipeline=[]
    )
    other = {**part, 'metainfo': {key: ('forest', 'water')}}
    parts = dict(type='ConcatDataset', datasets=[part, other])
    text = message_of(train_dataloader=dict(dataset=parts))
    assert text.startswith(
        f'the parts of a ConcatDataset must have the same {key}: the first part has'
    )
    assert text.endswith('part 2 has forest, water')


def test_parts_are_compared_as_mmengine_compares_them(data_root):
    """Names of bands may be numbers, keys may be ignored, and only ConcatDatasets are compared."""
    part = dict(type='MultiBandSegDataset', data_root=str(data_root), pipeline=[])

    def config(bands, **settings):
        parts = [part, {**part, 'metainfo': dict(bands=bands)}]
        return Config(
            dict(
                train_dataloader=dict(
                    dataset=dict(type='ConcatDataset', datasets=parts, **settings)
                )
            )
        )

    own = DatasetDescription.load(data_root).metainfo['bands']
    validate_config(config(own))
    validate_config(config(('x', 'y'), ignore_keys='bands'))
    with pytest.raises(UserError, match='same bands'):
        validate_config(config(('x', 'y'), ignore_keys=['classes']))
    mixed = dict(type='MultiImageMixDataset', dataset=part, pipeline=[])
    validate_config(Config(dict(train_dataloader=dict(dataset=mixed))))


def test_arguments_behind_forwarded_ones():
    """Constructors that read or pop some of their ``**kwargs`` and forward the rest."""
    dataset = dict(type='MultiBandSegDataset', data_rot='x', pipeline=[])
    text = message_of(train_dataloader=dict(dataset=dataset))
    assert "MultiBandSegDataset has no argument 'data_rot' (did you mean data_root?)" in text
    preprocessor = dict(type='MultiBandDataPreProcessor', meen=[0])
    text = message_of(model={**MODEL, 'data_preprocessor': preprocessor})
    assert "MultiBandDataPreProcessor has no argument 'meen' (did you mean mean?)" in text


def test_initialisers_averages_and_seeds():
    text = message_of(model={**MODEL, 'backbone': {**BACKBONE, 'init_cfg': dict(type='Kaimin')}})
    assert text.startswith("model.backbone.init_cfg: type='Kaimin': no such class")
    hook = dict(type='EMAHook', ema_type='ExponentialMovingAverge')
    text = message_of(custom_hooks=[hook])
    assert 'did you mean ExponentialMovingAverage?' in text
    text = message_of(randomness=dict(sed=3))
    assert "set_randomness has no argument 'sed' (did you mean seed?)" in text


def test_classes_of_other_packages_and_constructors_are_left_to_them():
    validate_config(Config(dict(model=dict(_scope_='mmpretrain', type='Anything', setting=1))))
    optimizers = dict(constructor='TwoOptimizers', encoder=dict(lr=0.1), head=dict(lr=1.0))
    validate_config(Config(dict(optim_wrapper=optimizers)))


@pytest.mark.skipif(find_spec('mmdet') is not None, reason='mmdet is installed')
def test_heads_of_mmdet_say_that_they_require_it():
    text = message_of(model={**MODEL, 'decode_head': dict(type='MaskFormerHead', in_channels=[1])})
    assert text.endswith('MaskFormerHead requires mmdet, not installed: pip install mmdet')


def test_sections_can_be_selected():
    config = Config(dict(model=dict(type='Nothing'), train_dataloader=dict(batchsize=2)))
    with pytest.raises(UserError, match='batchsize'):
        validate_config(config, 'train_dataloader')


def test_configs_of_mmseg_are_valid():
    folder = Path(mmseg.__file__).parent / '.mim' / 'configs'
    files = sorted(folder.glob('[!_]*/*.py'))
    assert len(files) > 500
    for file in files[::9]:
        if file.parent.name in ('maskformer', 'mask2former'):  # require mmdet
            continue
        validate_config(Config.fromfile(str(file)))


@pytest.mark.parametrize('seed', [-1, 2**32, 'zero'])
def test_seeds_of_numpy(seed):
    with pytest.raises(UserError, match=rf'randomness\.seed = {seed}: expected an integer from 0'):
        validate_config(Config(dict(randomness=dict(seed=seed))))
    validate_config(Config(dict(randomness=dict(seed=None))))


@pytest.mark.parametrize('size', [0, -1, 'two', 1.5])
def test_batch_sizes_are_positive_integers(size):
    text = message_of(train_dataloader=dict(batch_size=size))
    assert text == f'train_dataloader.batch_size = {size!r}: expected a positive integer'
    validate_config(Config(dict(train_dataloader=dict(batch_size=1))))

"""Wrong settings are reported in one line."""

import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from torch import nn

from dnas_mmseg.engine.config_checks import config_errors
from dnas_mmseg.errors import UserError

BACKBONE = dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=2)
HEAD = dict(type='DNASHead', num_classes=5, channels=8)


def message_of(build):
    with pytest.raises(UserError) as caught, config_errors():
        build()
    text = str(caught.value)
    assert '\n' not in text
    assert caught.value.__cause__ is not None
    return text


def test_an_unknown_argument_names_class_and_what_it_accepts():
    text = message_of(lambda: MODELS.build({**BACKBONE, 'base_chanels': 8}))
    assert text.startswith(
        "DNAS has no argument 'base_chanels' (did you mean base_channels?); it accepts architecture"
    )


def test_an_argument_unknown_to_a_base_class_is_told_of_the_class_in_the_config():
    model = dict(
        type='SearchedEncoderDecoder', backbone=BACKBONE, decode_head={**HEAD, 'num_clases': 3}
    )
    text = message_of(lambda: MODELS.build(model))
    assert text.startswith("DNASHead has no argument 'num_clases' (did you mean num_classes?)")
    stock = dict(type='FCNHead', in_channels=4, channels=4, num_classes=5, droput_ratio=0.2)
    text = message_of(lambda: MODELS.build(stock))
    assert text.startswith("FCNHead has no argument 'droput_ratio' (did you mean dropout_ratio?)")
    assert 'num_convs' in text


def test_an_argument_unknown_to_what_needs_no_registry():
    model = nn.Conv2d(1, 1, 1)
    optimizer = dict(type='OptimWrapper', optimizer=dict(type='SGD', lrr=0.1))
    text = message_of(lambda: build_optim_wrapper(model, optimizer))
    assert text.startswith("SGD has no argument 'lrr' (did you mean lr?)")
    norm = dict(type='FCNHead', in_channels=4, channels=4, num_classes=5)
    text = message_of(lambda: MODELS.build({**norm, 'norm_cfg': dict(type='BN', epss=1)}))
    assert "has no argument 'epss'" in text
    loader = dict(dataset=[1, 2], sampler=None, batchsize=2)
    text = message_of(lambda: Runner.build_dataloader(loader))
    assert "has no argument 'batchsize' (did you mean batch_size?)" in text


def test_a_missing_argument():
    text = message_of(lambda: MODELS.build(dict(type='DNAS')))
    assert text == "DNAS needs 'architecture', which the config does not give"


def test_an_unknown_class():
    text = message_of(lambda: MODELS.build(dict(type='DNASS')))
    assert text.startswith("type='DNASS': no such class in the registry mmseg::model (did you mean")
    text = message_of(lambda: MODELS.build(dict(interval=3)))
    assert 'interval' in text


def test_parts_with_other_classes(data_root):
    part = dict(
        type='MultiBandSegDataset', data_root=str(data_root), ann_file='train.txt', pipeline=[]
    )
    other = {**part, 'metainfo': dict(classes=('forest', 'water'))}
    text = message_of(lambda: DATASETS.build(dict(type='ConcatDataset', datasets=[part, other])))
    assert text.startswith('the parts of a ConcatDataset need the same classes')


def test_a_mistake_of_the_program_keeps_its_traceback():
    def forward(**settings):
        return len(settings, **settings)

    with pytest.raises(TypeError), config_errors():
        forward(base_chanels=8)
    with pytest.raises(KeyError), config_errors():
        {}['seg_map_path']

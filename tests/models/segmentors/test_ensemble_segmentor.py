import copy

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy

from ...conftest import ROOT


def member(channels):
    model = load_config(ROOT / 'configs/dnas/dnas_l12_w16_naip.py').model
    model.backbone.base_channels = 2
    model.decode_head.channels = channels
    return model


@pytest.fixture
def config():
    models = [member(4), member(8)]
    preprocessor = models[0].data_preprocessor
    return Config(
        dict(model=dict(type='EnsembleSegmentor', members=models, data_preprocessor=preprocessor))
    )


@pytest.fixture
def ensemble(config):
    return MODELS.build(config.model).eval()


def test_logits_of_the_mean_probabilities(ensemble):
    images = torch.randn(2, 4, 37, 50)
    metas = [dict(ori_shape=(37, 50), img_shape=(37, 50), pad_shape=(37, 50))] * 2
    with torch.no_grad():
        singles = [m.encode_decode(images, metas).softmax(1) for m in ensemble.members]
        logits = ensemble.encode_decode(images, metas)
    torch.testing.assert_close(logits.exp(), (singles[0] + singles[1]) / 2)
    assert not torch.allclose(singles[0], singles[1])


def test_predicts_like_an_encoder_decoder(ensemble):
    data = dict(inputs=[torch.rand(4, 37, 50) * 255])
    with torch.no_grad():
        (result,) = ensemble.test_step(data)
    assert result.pred_sem_seg.data.shape == (1, 37, 50)
    assert (ensemble.num_classes, ensemble.out_channels, ensemble.align_corners) == (5, 5, True)
    switched = switch_to_deploy(copy.deepcopy(ensemble))
    with torch.no_grad():
        (again,) = switched.test_step(data)
    torch.testing.assert_close(again.seg_logits.data, result.seg_logits.data, atol=1e-4, rtol=1e-3)


def test_its_cost_is_that_of_all_members(config):
    own = complexity(config, (64, 64))
    members = [complexity(Config(dict(model=m)), (64, 64)) for m in (member(4), member(8))]
    assert own.parameters == sum(m.parameters for m in members)
    assert own.macs == pytest.approx(sum(m.macs for m in members))


def test_mistakes(config):
    with pytest.raises(UserError, match='expected at least one member'):
        MODELS.build(dict(type='EnsembleSegmentor', members=[]))
    config.model.members[1].decode_head.num_classes = 3
    with pytest.raises(UserError, match=r'members have \[5, 3\] outputs, expected the same'):
        MODELS.build(config.model)


def test_it_cannot_be_trained(ensemble):
    with pytest.raises(UserError, match='an ensemble cannot be trained'):
        ensemble(torch.randn(1, 4, 32, 32), [], mode='loss')

"""Counting methods, and the values of the DNAS paper."""

import json

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.cost.counting import count, count_by_modules
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.upsampled_conv import in_published_order
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, import_timm


def config(name):
    return Config.fromfile(str(ROOT / f'configs/{name}.py'))


@pytest.mark.parametrize(
    ('layers', 'parameters', 'macs', 'mebibytes'),
    [(12, 6_156_653, 16.996, 772.997), (14, 7_359_053, 54.0575, 1195.376)],
)
def test_counting_by_modules_reproduces_the_paper(layers, parameters, macs, mebibytes):
    cost = complexity(config(f'dnas/dnas_l{layers}_gid5'), (512, 512), paper=True)
    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(macs, abs=6e-4)
    assert cost.activations / 2**20 == pytest.approx(mebibytes, abs=6e-4)


def test_published_row_of_l12_excludes_an_edge_that_stage_2_cannot_select(tmp_path):
    document = json.loads(json.dumps(load_architecture('dnas_l12_gid5').to_document()))
    # The edge is the only input of a dead node.
    document['nodes'] = [node for node in document['nodes'] if node['node'] != [8, 0]]
    load_architecture(document).save(tmp_path / 'l12.json')
    published = config('dnas/dnas_l12_gid5')
    published.model.backbone.architecture = str(tmp_path / 'l12.json')
    cost = complexity(published, (512, 512), paper=True)
    assert cost.parameters == 6_148_653
    assert round(cost.macs / 1e9, 2) == 16.89
    assert round(cost.activations / 2**20, 1) == 753.0


def test_counting_by_operators_of_unpruned_networks():
    for layers, macs in ((12, 16.80), (14, 53.76)):
        listed = config(f'dnas/dnas_l{layers}_gid5')
        listed.model.backbone.prune = False
        assert round(complexity(listed, (512, 512)).macs / 1e9, 2) == macs


def test_counts_of_a_small_network():
    net = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, bias=True), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 5, padding=2, groups=3, bias=False), nn.Dropout(),
    ).eval()  # fmt: skip
    pixels = 10 * 12
    convolutions = pixels * (6 * 9 * 4 + 6 * 25 * 2)
    by_operators = count(net, net, (1, 4, 10, 12))
    assert by_operators.macs == convolutions
    assert by_operators.activations == 4 * 3 * 6 * pixels  # conv, norm, conv; ReLU is in place
    by_modules = count_by_modules(net, net, (1, 4, 10, 12))
    assert by_modules.macs == convolutions + pixels * (6 + 2 * 6 + 6)
    assert by_modules.activations == 4 * 5 * 6 * pixels
    assert by_modules.parameters == sum(p.numel() for p in net.parameters())


def test_attention_is_counted():
    projections, product = 4 * 100 * 64 * 64, 2 * 100 * 100 * 64
    heads = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    assert count(heads, lambda x: heads(x, x, x)[0], (1, 100, 64)).macs == projections + product
    expected = projections + product + 2 * 100 * 64 * 128
    assert count(layer, layer, (1, 100, 64)).macs == expected
    fused = count(
        nn.Identity(),
        lambda x: nn.functional.scaled_dot_product_attention(x, x[:, :, :50], x[:, :, :50]),
        (1, 4, 100, 16),
    )
    assert fused.macs == 2 * 4 * 100 * 50 * 16
    assert fused.activations < 4 * 4 * 100 * 50 * 4  # no matrix of all pairs
    assert torch.backends.mha.get_fastpath_enabled()


def test_counting_uses_the_published_order_temporarily():
    narrow = config('dnas/dnas_l14_gid5')
    plain = complexity(narrow, (64, 64))
    narrow.model.decode_head.align_corners = False
    assert complexity(narrow, (64, 64)) == plain
    model = MODELS.build(narrow.model).eval()
    x = torch.randn(1, 4, 64, 64)
    before = model(x)
    count(model, model, x.shape)
    assert not in_published_order()
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    'name',
    ['unet/unet_lite0_naip', 'TIMMEncoder', 'fpn/fpn_r18_naip', 'segformer/segformer_mit-b0_naip'],
)
def test_any_number_of_bands_at_odd_sizes(name):
    built = config('unet/unet_lite0_naip' if name == 'TIMMEncoder' else name)
    if name == 'TIMMEncoder':
        import_timm()
        # Weights that start a training are not needed to count.
        built.model.backbone = dict(type=name, model_name='mobilenetv3_small_050', pretrained=True)
    one, three, thirteen = (complexity(built, (33, 47), bands) for bands in (1, 3, 13))
    assert thirteen.parameters - three.parameters == 5 * (three.parameters - one.parameters) > 0
    assert thirteen.macs - three.macs == 5 * (three.macs - one.macs) > 0


def test_other_bands_and_invalid_sizes():
    eight = complexity(config('pspnet/pspnet_r18-d8_gid5'), (64, 64), bands=8)
    four = complexity(config('pspnet/pspnet_r18-d8_gid5'), (64, 64))
    assert eight.parameters - four.parameters == 4 * 32 * 9
    with pytest.raises(UserError, match='HRNet cannot run on images of 0 x 0'):
        complexity(config('hrnet/fcn_hr18s_gid5'), (0, 0))


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_activations_of_batch_norms(mode):
    """The output, and while training the mean and deviation of each channel."""
    norm = getattr(nn.BatchNorm2d(8), mode)()
    statistics = 0 if mode == 'eval' else 2 * 8
    expected = 4 * (2 * 8 * 5 * 7 + statistics)
    assert count(norm, norm, (2, 8, 5, 7)).activations == expected

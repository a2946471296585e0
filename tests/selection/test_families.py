from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.cost.parts import segmentor_cost
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.selection.candidates import CandidateSet
from dnas_mmseg.selection.ensemble import ensemble_config
from dnas_mmseg.selection.families import ConfigFamily, SpaceFamily, SpaceSettings, adapt_to_data
from dnas_mmseg.selection.plan import SelectionPlan
from dnas_mmseg.selection.portfolio import PORTFOLIO, Member

from ..conftest import ROOT


def test_networks_of_a_space(candidates, rng):
    family = candidates.families['dnas']
    networks = [family.random(rng) for _ in range(20)]
    assert len({network.name for network in networks}) == len(set(networks)) > 10
    neighbours = family.neighbours(networks[0], rng)
    assert len(set(neighbours)) == len(neighbours) > 10
    assert networks[0] not in neighbours
    codes = np.stack([family.encode(network) for network in (*networks, *neighbours)])
    assert np.isfinite(codes).all()
    # The table of parts agrees with the cost of the whole segmentor.
    model = family.config(networks[0]).model
    for metric in ('macs', 'params'):
        whole = segmentor_cost(model, metric, (64, 64))
        assert family.cost(networks[0], metric) == pytest.approx(whole, rel=0.02)
    assert candidates.cost(networks[0]) == family.cost(networks[0], 'macs')


def test_the_same_architecture_has_the_same_name(candidates, rng):
    family = candidates.families['dnas']
    network = family.random(rng)
    again = replace(network.choice, name='other', provenance={'from': 'elsewhere'})
    assert family.parse(again) == network
    assert candidates.parse(network.to_document()) == network


@pytest.mark.parametrize('space', ['autodeeplab', 'densenas'])
def test_other_spaces(space, tiny, rng):
    family = SpaceFamily(SpaceSettings(space, str(tiny), None, {}), None, 64, None)
    sampled = family.random(rng)
    assert family.cost(sampled, 'macs') > 0
    assert len(family.neighbours(sampled, rng)) > 10
    assert np.isfinite(family.encode(sampled)).all()
    assert family.parse(sampled.choice.to_document()) == sampled
    assert family.config(sampled).model.decode_head.num_classes == 5


def test_a_config_with_choices(candidates, rng):
    family = candidates.families['small_unet']
    assert family.size == 2 * 10
    assert family.default.name == 'small_unet'
    other = family.parse([1, 9])
    assert other.name.startswith('small_unet_')
    assert family.config(other).model.decode_head.channels == 4
    assert family.config(family.default).model.decode_head.channels == 2
    assert family.cost(other, 'params') > family.cost(family.default, 'params')
    assert family.cost(other, 'macs') == complexity(family.config(other), (64, 64)).macs
    assert len(set(family.neighbours(other, rng))) == 1 + 9
    assert family.describe(other) == 'channels 4, lr 0.004'
    assert candidates.parse(other.to_document()) == other
    for choice in ([2, 0], [0], [0, '1'], 'x', [0, True]):
        with pytest.raises(UserError, match='is not a combination of its choices'):
            family.parse(choice)


def test_configs_of_other_networks_get_the_users_data(candidates):
    own = candidates.config
    source = load_config(ROOT / 'configs/pspnet/pspnet_r18-d8_gid5-rgb.py')
    source.auto_scale_lr.base_batch_size = 16
    config = adapt_to_data(source, own)
    assert config.model.backbone.in_channels == 4
    assert config.model.decode_head.num_classes == 5
    assert config.model.data_preprocessor == own.model.data_preprocessor
    assert config.train_dataloader == own.train_dataloader
    assert config.optim_wrapper == source.optim_wrapper
    assert config.auto_scale_lr.base_batch_size == 16
    assert source.model.backbone.in_channels == 3  # unchanged
    pretrained = adapt_to_data(load_config(ROOT / 'configs/unet/unet_lite0_gid5-rgb.py'), own)
    assert pretrained.model.backbone.init_cfg.bands == ['nir', 'red', 'green', 'blue']
    # A U-Net requires sizes that are multiples of 16.
    unet = adapt_to_data(load_config(ROOT / 'configs/unet/fcn_unet_s5_naip.py'), own)
    assert unet.model.data_preprocessor.test_cfg == dict(size_divisor=16)
    assert unet.model.data_preprocessor.mean == own.model.data_preprocessor.mean
    assert 'test_cfg' not in own.model.data_preprocessor
    source.model.backbone = dict(type='TIMMEncoder', model_name='resnet18', bands=('red', 'nir'))
    assert adapt_to_data(source, own).model.backbone.bands == ['nir', 'red', 'green', 'blue']
    own = own.copy()
    del own.model['data_preprocessor']
    with pytest.raises(UserError, match='no data_preprocessor with mean and std'):
        adapt_to_data(source, own)


def test_the_users_network_is_trained_as_it_is(candidates):
    """Also with a backbone that names its bands differently, and a head of other classes."""

    class Backbone(nn.Sequential):
        def __init__(self, in_chans):
            super().__init__(nn.Conv2d(in_chans, 8, 3))

        def forward(self, image):
            return (super().forward(image),)

    head = dict(
        type='FCNHead', in_channels=8, in_index=0, channels=4, num_convs=1, concat_input=False
    )
    own = candidates.config.copy()
    own.model = dict(
        type='EncoderDecoder', data_preprocessor=own.model.data_preprocessor,
        backbone=dict(type=Backbone, in_chans=4), decode_head=dict(num_classes=5, **head),
        auxiliary_head=dict(num_classes=2, **head),
    )  # fmt: skip
    family = ConfigFamily('own', own, own, 64)
    config = family.config(family.default)
    assert config.model == own.model
    assert family.cost(family.default, 'params') == 8 * (4 * 9 + 1) + 4 * (8 * 9 + 1) + 5 * (4 + 1)
    with pytest.raises(UserError, match='other: its model cannot be built'):
        ConfigFamily('other', own.copy(), own, 64)  # on data of unknown bands


def test_the_modules_of_all_networks_are_imported(candidates):
    """Also in a new process, which loads a network or an ensemble from its file."""
    own, family = candidates.config.copy(), candidates.families['small_unet']
    own.custom_imports = dict(imports='mine', allow_failed_imports=True)
    configs = []
    for imports in (['dnas_mmseg', 'first'], 'second', ['second', 'mine']):
        config = family.config(family.default)
        config.custom_imports = dict(imports=imports)
        configs.append(adapt_to_data(config, own))
    found = [config.custom_imports.imports for config in configs]
    assert found == [['mine', 'dnas_mmseg', 'first'], ['mine', 'second'], ['mine', 'second']]
    together = ensemble_config(own, configs).custom_imports
    assert together.imports == ['mine', 'dnas_mmseg', 'first', 'second']
    assert together.allow_failed_imports


def test_a_model_that_cannot_be_built(candidates, small_unet):
    text = small_unet.read_text()
    small_unet.write_text(
        text.replace(
            "'model.decode_head.channels': [2, 4]", "'model.decode_head.channels': [2, 'x']"
        )
    )
    with pytest.raises(UserError, match=r'small_unet: its model with channels x, lr .* cannot be'):
        ConfigFamily('small_unet', load_config(small_unet), candidates.config, 64)


def test_latency_requires_a_table(tiny, rng):
    family = SpaceFamily(SpaceSettings('dnas', str(tiny), None, {}), 4, 64, None)
    with pytest.raises(UserError, match='requires the --latency-table'):
        family.cost(family.random(rng), 'latency')


def test_candidates_of_a_plan(plan, candidates, rng):
    assert list(candidates.families) == ['dnas', 'small_unet']
    assert [c.name for c in candidates.initial] == ['small_unet']
    assert {candidates.random(rng).family for _ in range(40)} == {'dnas', 'small_unet'}
    sampled = candidates.families['dnas'].random(rng)
    assert [candidates.is_searched(c) for c in (sampled, candidates.initial[0])] == [True, False]
    with pytest.raises(UserError, match="family 'unet' is not among the --families"):
        candidates.parse({'family': 'unet', 'choice': []})


def test_portfolio(tiny):
    found = CandidateSet(SelectionPlan(str(tiny), hours=1, cost_size=64))
    names = [found.label(candidate) for candidate in found.initial]
    assert names == [
        'your config',
        'U-Net, EfficientNet-Lite0, ImageNet',
        'HRNet-W18-small',
        'DNAS L=12, released architecture',
        'FPN, ResNet-18',
        'DenseNAS, architecture of naip_small',
        'SegFormer, MiT-B0',
        'PSPNet, ResNet-18',
        'DeepLabV3+, ResNet-18',
    ]
    assert not found.excluded
    macs = [found.cost(candidate) for candidate in found.initial]
    assert min(macs) > 0


def test_the_users_network_is_not_tried_twice(tmp_path, data_root):
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/hrnet/fcn_hr18s_naip.py'\n"
        f"data = dict(dataset=dict(data_root='{data_root}', label_convention='train_id',\n"
        "                         metainfo=dict(bands=('nir', 'red', 'green', 'blue'))))\n"
        'train_dataloader = data\nval_dataloader = data\ntest_dataloader = data\n'
    )
    found = CandidateSet(SelectionPlan(str(config), hours=1, families=()))
    names = [found.label(candidate) for candidate in found.initial]
    assert names[0] == 'your config'
    assert 'HRNet-W18-small' not in names


def test_portfolio_beside_the_network_of_init(tmp_path, data_root):
    """A U-Net on an encoder that is in DenseNAS's space: the space is that of its own networks."""
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/unet/unet_lite0.py'\n"
        f"data = dict(dataset=dict(type='MultiBandSegDataset', data_root='{data_root}',\n"
        "    ann_file='train.txt', pipeline={{_base_.train_pipeline}}))\n"
        'train_dataloader = data\n'
        'model = dict(data_preprocessor=dict(mean=[100.0] * 4, std=[50.0] * 4))\n'
    )
    found = CandidateSet(SelectionPlan(str(config), hours=1, families=(), cost_size=64))
    names = [found.label(candidate) for candidate in found.initial]
    assert names[0] == 'your config'
    assert 'U-Net, EfficientNet-Lite0, ImageNet' not in names
    assert 'DenseNAS, architecture of naip_small' in names
    family = found.families['densenas']
    model = family.config(family.random(np.random.default_rng(0))).model
    assert model.decode_head.type == 'DepthwiseSeparableASPPHead'


def test_an_architecture_outside_of_the_space_is_named(tiny, capsys):
    text = tiny.read_text() + 'supernet = dict(widths=((8,), (16,), (24,), (40,), (64,)))\n'
    tiny.write_text(text.replace('dnas/dnas_l14_adamw-ema_gid5', 'densenas/densenas_a_gid5'))
    tiny.write_text(tiny.read_text().replace('backbone=dict(base_channels=2), ', ''))
    found = CandidateSet(SelectionPlan(str(tiny), hours=1, families=('densenas', 'fpn')))
    assert [candidate.family for candidate in found.initial] == ['fpn']
    assert 'DenseNAS, architecture of naip_small is not tried' in capsys.readouterr().err


@pytest.mark.parametrize(
    'text', ['x = 1\n', "model = dict(type='EnsembleSegmentor', members=[])\n"]
)
def test_a_family_without_a_backbone_is_refused(plan, tmp_path, text):
    (tmp_path / 'other.py').write_text(text)
    families = 'dnas', str(tmp_path / 'other.py')
    with pytest.raises(UserError, match=r'other\.py has no model with a backbone'):
        CandidateSet(replace(plan, families=families))


def test_options_apply_to_the_users_network(tiny, small_unet):
    plan = SelectionPlan(
        str(small_unet),
        hours=1,
        families=(str(small_unet),),
        data_root=str(tiny.parent / 'data'),
        options={
            'model.decode_head.num_convs': 2,
            **{
                f'{split}_dataloader.dataset.{key}': value
                for split in ('train', 'val', 'test')
                for key, value in (
                    ('label_convention', 'train_id'),
                    ('metainfo', {'bands': ['nir', 'red', 'green', 'blue']}),
                )
            },
        },
        cost_size=64,
    )
    (family,) = CandidateSet(plan).families.values()
    config = family.config(family.default)
    assert config.model.decode_head.num_convs == 2
    assert 'choices' not in config


@pytest.mark.parametrize('name', ['unet.py', 'dnas.py'])
def test_a_config_with_the_name_of_a_family(tiny, name):
    """It neither replaces the family of the portfolio nor is replaced by it."""
    config = tiny.rename(tiny.with_name(name))
    found = CandidateSet(SelectionPlan(str(config), hours=1, cost_size=64))
    assert {'own', 'unet', 'dnas'} <= set(found.families)
    assert len(set(found.initial)) == len(found.initial) == 9
    own = found.families['own']
    assert own.config(own.default).model.decode_head.channels == 8


def test_mistakes_in_the_users_config_are_errors(tiny):
    tiny.write_text(tiny.read_text() + "choices = {'model.backbone.wrong': [1, 2]}\n")
    with pytest.raises(UserError, match=r"model\.backbone has no 'wrong'"):
        CandidateSet(SelectionPlan(str(tiny), hours=1, cost_size=64))


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (
            'train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=9)',
            'a schedule in epochs is required',
        ),
        (
            'param_scheduler = [dict(type="PolyLR", power=0.9, end=400, by_epoch=False)]',
            'small_unet: PolyLR counts iterations, whose number depends on the tiles',
        ),
        (
            'param_scheduler = [dict(type="MultiStepLR", milestones=[60, 80], by_epoch=False)]',
            'MultiStepLR counts iterations, .*, and milestones to numbers of epochs',
        ),
    ],
)
def test_schedules_in_iterations_are_refused(plan, small_unet, setting, message):
    small_unet.write_text(f'{small_unet.read_text()}{setting}\n')
    with pytest.raises(UserError, match=message):
        CandidateSet(plan)


def test_weights_to_start_from_belong_to_their_network(plan, tiny, small_unet):
    tiny.write_text(tiny.read_text() + "load_from = 'mine.pth'\nresume = True\n")
    small_unet.write_text(small_unet.read_text() + "load_from = 'unet.pth'\n")
    families = str(tiny), 'densenas', str(small_unet)
    found = CandidateSet(replace(plan, families=families, layers=None))
    rng = np.random.default_rng(0)
    configs = {name: family.config(family.random(rng)) for name, family in found.families.items()}
    assert {name: config.get('load_from') for name, config in configs.items()} == {
        'tiny': 'mine.pth', 'densenas': None, 'small_unet': 'unet.pth'
    }  # fmt: skip
    assert not any(config.resume for config in configs.values())


def test_configs_that_differ_in_the_recipe_are_two_families(plan, small_unet):
    other = small_unet.with_name('other.py')
    text = small_unet.read_text()
    other.write_text(
        text[: text.index('choices')] + 'optim_wrapper = dict(optimizer=dict(lr=1e-4))\n'
    )
    small_unet.write_text(text[: text.index('choices')])
    found = CandidateSet(replace(plan, families=(str(small_unet), str(other))))
    assert list(found.families) == ['small_unet', 'other']


def test_architectures_of_the_user(plan, candidates, rng, tmp_path):
    network = candidates.families['dnas'].random(rng)
    path = tmp_path / 'mine.json'
    replace(network.choice, name='mine').save(path)
    found = CandidateSet(replace(plan, candidates=(str(path),)))
    assert found.initial[0] == network
    assert (found.label(network), found.given) == ('mine', {network})
    with pytest.raises(UserError, match='its space densenas is not among the families'):
        CandidateSet(replace(plan, candidates=('densenas_a',)))
    with pytest.raises(UserError, match=r'dnas_l14_gid5 has 14 layers, .* set --layers 14'):
        CandidateSet(replace(plan, candidates=('dnas_l14_gid5',)))


@pytest.mark.parametrize(
    ('families', 'message'),
    [
        (('hrnett',), r"family 'hrnett': expected a config .* \(did you mean hrnet\?\)"),
        (('unet', 'unet'), 'families unet: two have this name'),
        (('a/unet.py', 'unet'), 'families unet: two have this name'),
        (('no_such.py',), 'no_such.py'),
    ],
)
def test_invalid_families(plan, families, message):
    with pytest.raises((UserError, OSError), match=message):
        CandidateSet(replace(plan, families=families))


def test_a_portfolio_network_that_cannot_be_built_is_excluded(plan, monkeypatch):
    broken = Member('broken', str(ROOT / 'configs/hrnet/no_such.py'), 'broken')
    monkeypatch.setattr('dnas_mmseg.selection.candidates.PORTFOLIO', (broken, PORTFOLIO[1]))
    found = CandidateSet(replace(plan, families=()))
    assert list(found.families) == ['own', 'hrnet']
    assert 'no_such.py' in found.excluded['broken']


def test_configs_of_stages_of_a_search_are_refused():
    stage = 'dnas_mmseg::dnas/dnas_l14_path-search_gid5.py'
    with pytest.raises(UserError, match='configures a stage of a search'):
        CandidateSet(SelectionPlan(stage, hours=1, families=('dnas_mmseg::unet/unet_lite0.py',)))

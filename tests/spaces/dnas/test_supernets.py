import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain import plain_logits
from dnas_mmseg.engine.checkpoints import CheckpointError, load_exactly, load_weights
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS, DNASArchitecture, NodeSpec
from dnas_mmseg.spaces.dnas.authors_checkpoint import supernet_from_authors
from dnas_mmseg.spaces.dnas.decoding import core_edges
from dnas_mmseg.spaces.dnas.supernets import (
    DNASCellSupernet,
    DNASConnectionSupernet,
    DNASPathSupernet,
)
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import Node


def stage_backbone(stage: int, recorded) -> dict:
    """Config of the supernet of a recorded stage."""
    if stage == 1:
        return dict(type='DNASPathSupernet', layers=int(recorded['layers']), architecture=None)
    if stage == 2:
        path = tuple(map(int, recorded['core_path']))
        architecture = DNASArchitecture(name='l6', level='path', layers=6, path=path)
        return dict(type='DNASConnectionSupernet', architecture=architecture, weighting='reference')
    inputs: dict = {}
    for source, target in recorded['connections'].tolist():
        inputs.setdefault(Node(*target), []).append(Node(*source))
    nodes = tuple(NodeSpec(node, tuple(sources)) for node, sources in inputs.items())
    architecture = DNASArchitecture(name='l6', level='connection', layers=6, nodes=nodes)
    return dict(type='DNASCellSupernet', architecture=architecture, prune=False)


@pytest.mark.parametrize('stage', [1, 2, 3])
def test_agrees_with_the_released_code(shared, build_segmentor, stage):
    recorded = np.load(shared / f'reference/stage{stage}_l6_b4.npz', allow_pickle=False)
    backbone = {**stage_backbone(stage, recorded), 'base_channels': 4}
    model = build_segmentor(backbone=backbone, head=dict(type='DNASHead', num_classes=5)).eval()
    supernet = model.backbone
    edges = [tuple(map(tuple, edge)) for edge in recorded['connections'].tolist()]
    assert list(supernet.architecture.edges) == sorted(edges, key=lambda edge: edge[1])
    weights = load_weights(shared / f'reference/stage{stage}_l6_b4.pth.tar')
    load_exactly(model, supernet_from_authors(weights, supernet), f'stage {stage}')

    ((name, parameter),) = supernet.architecture_parameters().items()
    parameter.requires_grad_(True)
    image = torch.from_numpy(recorded['input'])
    logits = F.interpolate(model(image), image.shape[2:], mode='bilinear', align_corners=True)
    loss = F.cross_entropy(
        logits / logits.std().detach(), torch.from_numpy(recorded['target']), ignore_index=255
    )
    (gradient,) = torch.autograd.grad(loss, parameter)
    assert relative(logits.detach().numpy(), recorded['output']) < 1e-5
    assert loss.item() == pytest.approx(float(recorded['loss']), rel=1e-5)
    theirs = recorded[f'{name}_grad']
    rows = [theirs[spec.node] for spec in supernet.architecture.nodes]
    if name == 'betas':
        counts = [len(spec.inputs) for spec in supernet.architecture.nodes]
        rows = np.concatenate([row[:n] for row, n in zip(rows, counts, strict=True)])
    assert relative(gradient.numpy(), np.array(rows)) < 1e-4


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(
    ('layers', 'counts'), [(14, (27.71, 12.48, 21.11)), (12, (22.83, 8.52, 14.42))]
)
def test_parameter_counts_at_the_published_width(build_segmentor, layers, counts):
    name = f'dnas_l{layers}_gid5'
    backbones = (
        dict(type='DNASPathSupernet', layers=layers, architecture=None),
        dict(type='DNASConnectionSupernet', architecture=f'{name}@path'),
        dict(type='DNASCellSupernet', architecture=f'{name}@connection', prune=False),
    )
    for backbone, millions in zip(backbones, counts, strict=True):
        model = build_segmentor(
            backbone={**backbone, 'base_channels': 40}, head=dict(type='DNASHead', num_classes=5)
        )
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert round(count / 1e6, 2) == millions


L4 = DNASArchitecture(name='l4', level='path', layers=4, path=(0, 1, 1, 2))
SUPERNETS = {
    'path': dict(type='DNASPathSupernet', layers=4, architecture=None),
    'gate': dict(type='DNASConnectionSupernet', architecture=L4),
    'reference': dict(type='DNASConnectionSupernet', architecture=L4, weighting='reference'),
    'cell': dict(type='DNASCellSupernet', architecture='dnas_l12_gid5@connection'),
}


def searching(model):
    """The architecture parameters, unfrozen and with random values."""
    ((_, parameter),) = model.backbone.architecture_parameters().items()
    with torch.no_grad():
        parameter.normal_()
    return parameter.requires_grad_(True)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kind', SUPERNETS)
def test_results_equal_the_plain_formulation(build_segmentor, kind, training):
    # In double precision, because normalisation of such small maps amplifies rounding errors.
    model = build_segmentor(backbone=SUPERNETS[kind]).train(training).double()
    parameter = searching(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image = torch.randn(2, 4, 70, 90).double()
    weight = model.backbone.stem[0][0].weight
    results = []
    for logits in (
        F.interpolate(model(image), (70, 90), mode='bilinear', align_corners=True),
        plain_logits(model, image),
    ):
        gradients = torch.autograd.grad(logits.square().mean(), (parameter, weight))
        results.append((logits.detach(), *gradients))
    for fast, plain in zip(*results, strict=True):
        assert relative(fast.numpy(), plain.numpy()) < 1e-9


@pytest.mark.parametrize('kind', SUPERNETS)
def test_recomputation_gives_the_same_gradients_and_statistics(build_segmentor, kind):
    models = [
        build_segmentor(backbone={**SUPERNETS[kind], 'with_cp': with_cp}).train().double()
        for with_cp in (False, True)
    ]
    models[1].load_state_dict(models[0].state_dict())
    image = torch.randn(2, 4, 64, 64, dtype=torch.double)
    results = []
    for model in models:
        parameter = model.backbone.architecture_parameters().popitem()[1].requires_grad_(True)
        torch.manual_seed(1)
        weights = list(model.backbone.nodes.parameters())
        gradients = torch.autograd.grad(model(image).square().mean(), [parameter, *weights])
        results.append([*gradients, *model.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_gradients_of_gates_and_of_single_edges_in_the_reference(build_segmentor):
    gradients = {}
    for kind in ('gate', 'reference'):
        model = build_segmentor(backbone=SUPERNETS[kind])
        parameter = searching(model)
        (gradients[kind],) = torch.autograd.grad(
            model(torch.randn(2, 4, 64, 64)).square().mean(), parameter
        )
    edges = model.backbone.architecture.edges
    single = [spec.node for spec in model.backbone.architecture.nodes if len(spec.inputs) == 1]
    core = [edge for edge, is_core in zip(edges, model.backbone.is_core, strict=True) if is_core]
    for kind, without in (
        ('gate', set(core)),
        ('reference', {edge for edge in edges if edge[1] in single}),
    ):
        zero = {edge for edge, g in zip(edges, gradients[kind].tolist(), strict=True) if g == 0}
        assert zero == without


def test_edges_with_gates_above_a_half_are_selected():
    supernet = DNASConnectionSupernet(L4, base_channels=2)
    with torch.no_grad():
        supernet.betas.fill_(-0.1)
    assert set(supernet.decode().edges) == core_edges(L4.path)
    with torch.no_grad():
        supernet.betas.fill_(0.1)
    assert supernet.decode().edges == supernet.architecture.edges


def test_decoding_selects_the_largest_parameters():
    supernet = DNASPathSupernet(layers=5, base_channels=2)
    path = (0, 1, 2, 2, 1)
    wanted = core_edges(path)
    with torch.no_grad():
        for i, edge in enumerate(supernet.architecture.edges):
            supernet.betas[i] = 2.0 * (edge in wanted)
    assert supernet.decode().path == path

    supernet = DNASCellSupernet('dnas_l12_gid5@connection', base_channels=2, prune=False)
    published = load_architecture('dnas_l12_gid5')
    with torch.no_grad():
        for row, spec in zip(supernet.alphas, published.nodes, strict=True):
            for operation in spec.operations:
                row[OPERATIONS.index(operation)] = 1.0
    assert supernet.decode() == published.pruned()


@pytest.mark.parametrize('kind', SUPERNETS)
def test_architecture_parameters_are_frozen_and_have_decisions(build_segmentor, kind):
    supernet = build_segmentor(backbone=SUPERNETS[kind]).backbone
    assert not any(p.requires_grad for p in supernet.architecture_parameters().values())
    probabilities = supernet.probabilities()
    assert len(probabilities) == len(supernet.decisions)
    for decision, p in zip(supernet.decisions, probabilities, strict=True):
        assert len(decision.options) == len(p)
        if decision.kind != 'gate':
            assert p.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('kind', SUPERNETS)
@pytest.mark.parametrize(('bands', 'size'), [(3, (33, 61)), (7, (40, 40))])
def test_any_bands_and_sizes(build_segmentor, kind, bands, size):
    backbone = build_segmentor(backbone={**SUPERNETS[kind], 'in_channels': bands}).backbone
    features = backbone.train()(torch.randn(1, bands, *size))
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(backbone.out_channels, backbone.strides, strict=True)
    ]


@pytest.mark.parametrize(
    ('supernet', 'architecture', 'message'),
    [
        (DNASConnectionSupernet, 'dnas_l12_gid5', "is of level 'cell', .*Connection.*'path'"),
        (DNASCellSupernet, 'dnas_l12_gid5@path', "is of level 'path', .*Cell.*'connection'"),
    ],
)
def test_a_wrong_level_raises(supernet, architecture, message):
    with pytest.raises(ArchitectureError, match=message):
        supernet(architecture)


def test_a_checkpoint_of_another_stage_raises(shared):
    weights = load_weights(shared / 'reference/stage1_l6_b4.pth.tar')
    with pytest.raises(CheckpointError, match='no checkpoint of DNASCellSupernet'):
        supernet_from_authors(weights, DNASCellSupernet('dnas_l12_gid5@connection', prune=False))
    with pytest.raises(CheckpointError, match='another architecture than paths_l7'):
        supernet_from_authors(weights, DNASPathSupernet(layers=7, base_channels=4))

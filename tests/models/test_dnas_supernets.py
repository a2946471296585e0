import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dnas_mmseg.apis.checkpoint_conversion import (
    CheckpointError,
    load_exactly,
    load_weights,
    supernet_from_authors,
)
from dnas_mmseg.architectures import ArchitectureError, DNASArchitecture
from dnas_mmseg.architectures.dnas import Node, NodeSpec
from dnas_mmseg.models import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet


def stage_backbone(stage: int, recorded) -> dict:
    """Config of the supernet that a recorded stage is of."""
    if stage == 1:
        return dict(type='DNASPathSupernet', layers=int(recorded['layers']), architecture=None)
    if stage == 2:
        path = tuple(map(int, recorded['core_path']))
        architecture = DNASArchitecture(name='l6', level='path', layers=6, path=path)
        return dict(
            type='DNASConnectionSupernet', architecture=architecture, weighting='reference'
        )
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

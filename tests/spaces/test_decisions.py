"""Open decisions of the supernets of all spaces."""

from typing import get_args

import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.spaces.decisions import Kind
from dnas_mmseg.spaces.dnas.decoding import core_edges

SUPERNETS = {
    'path': dict(type='DNASPathSupernet', layers=5, base_channels=2),
    'connection': dict(
        type='DNASConnectionSupernet', architecture='dnas_l12_gid5@path', base_channels=2
    ),
    'cell': dict(
        type='DNASCellSupernet', architecture='dnas_l12_gid5@connection', base_channels=2
    ),
    'autodeeplab': dict(type='AutoDeepLabSupernet', layers=4, filters=1, blocks=2),
    'densenas': dict(
        type='DenseNASSupernet', widths=((4,), (6, 8), (10, 12)), strides=(2, 4, 8),
        depths=(0, 1, 1), window=2, out_indices=(1, 2),
    ),
}  # fmt: skip


@pytest.fixture(params=SUPERNETS)
def supernet(request):
    net = MODELS.build(SUPERNETS[request.param])
    for parameter in net.architecture_parameters().values():
        parameter.data.normal_()
    return net


def edges_of(decision):
    ends = [option for option in decision.options if not isinstance(option, str)]
    if decision.kind == 'outgoing':
        return {(tuple(decision.node), tuple(option)) for option in ends}
    return {(tuple(option), tuple(decision.node)) for option in ends}


def test_every_option_has_a_probability(supernet):
    assert len(set(supernet.decisions)) == len(supernet.decisions)
    for decision, p in zip(supernet.decisions, supernet.probabilities(), strict=True):
        assert decision.kind in get_args(Kind)
        assert p.shape == (len(decision.options),)
        assert ((p >= 0) & (p <= 1)).all()
        if decision.kind != 'gate':
            torch.testing.assert_close(p.sum(), torch.ones_like(p.sum()))


def test_decoded_edges_and_operations_are_options_of_decisions(supernet):
    found = supernet.decode()
    edges = [edges_of(d) for d in supernet.decisions if d.kind != 'operation']
    if edges:
        # The previous stage has decided the core path.
        path = found.path if hasattr(supernet, 'is_core') else None
        core = core_edges(path) if path else set()
        assert {tuple(map(tuple, edge)) for edge in found.graph} - core <= set.union(*edges)
    operations = {tuple(d.node): d.options for d in supernet.decisions if d.kind == 'operation'}
    selected = {node: names for node, names in found.selected_operations.items() if names}
    assert bool(operations) == bool(selected)
    for node, names in selected.items():
        assert set(names) <= set(operations[tuple(node)])

"""What supernets of every space say that they leave open."""

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


def test_what_is_decoded_was_open(supernet):
    """Its edges and operations are options, under the places where the decisions are."""
    found = supernet.decode()
    edges = [edges_of(d) for d in supernet.decisions if d.kind != 'operation']
    if edges:
        # But for a core path, which the stage before has decided.
        path = found.path if hasattr(supernet, 'is_core') else None
        core = core_edges(path) if path else set()
        assert {tuple(map(tuple, edge)) for edge in found.graph} - core <= set.union(*edges)
    operations = {tuple(d.node): d.options for d in supernet.decisions if d.kind == 'operation'}
    chosen = {place: names for place, names in found.selected_operations.items() if names}
    assert bool(operations) == bool(chosen)
    for place, names in chosen.items():
        assert set(names) <= set(operations[tuple(place)])

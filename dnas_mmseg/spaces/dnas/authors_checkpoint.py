"""Conversion between the authors' checkpoints and this package's (facts of the released code).

The authors' keys are ``stem<i>``, ``cells.<layer>.<scale>.<source>._ops.<k>`` with the source as
numpy prints it (``[2 0]``, ``[10  0]``) and ``k`` counting the node's operations in table order,
and ``last_conv``. In the supernets ``k`` is the operation's name, or there is ``op`` for a light
cell, and ``betas`` or ``alphas`` are indexed by layer and scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.spaces.scales import Node

from .architecture import OPERATION_SPECS, OPERATIONS, DNASArchitecture, NodeSpec
from .lattice import node_key
from .supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

DNASSupernet = DNASPathSupernet | DNASConnectionSupernet | DNASCellSupernet

_CONV, _CONV_WITH_BIAS = ('weight',), ('weight', 'bias')
_COUNTER = 'num_batches_tracked'
_NORM = ('weight', 'bias', 'running_mean', 'running_var', _COUNTER)
_OUTSIDE_CELLS = (
    *((f'stem{i}.0', f'backbone.stem.{i}.0', _CONV_WITH_BIAS) for i in range(3)),
    *((f'stem{i}.1', f'backbone.stem.{i}.1', _NORM) for i in range(3)),
    ('last_conv.0', 'decode_head.convs.0.0', _CONV),
    ('last_conv.1', 'decode_head.convs.0.1', _NORM),
    ('last_conv.3', 'decode_head.convs.2.0', _CONV),
    ('last_conv.4', 'decode_head.convs.2.1', _NORM),
    ('last_conv.6', 'decode_head.conv_seg', _CONV_WITH_BIAS),
)
_EDGE = re.compile(r'cells\.(\d+)\.(\d+)\.\[\s*(-?\d+)\s+(\d+)\s*\]\.')


@dataclass(frozen=True)
class Conversion:
    """A converted state dict and what was left behind.

    Attributes:
        state_dict: Converted tensors by name.
        dropped: Dead cells that the source has and the result has not, one line each.
    """

    state_dict: dict[str, Tensor]
    dropped: tuple[str, ...]


def from_authors(
    state_dict: Mapping[str, Tensor], architecture: DNASArchitecture, prune: bool = True
) -> Conversion:
    """Return the authors' state dict of a retrained network as this package's.

    Args:
        state_dict: State dict of the authors' code, from :func:`load_weights`.
        architecture: Network that the state dict should be of, level ``'cell'``.
        prune: Whether the result is for ``DNAS(prune=True)``, without cells that cannot influence
            the output.

    Raises:
        CheckpointError: The state dict is of another network; the message says what differs.
    """
    names = _key_names(architecture)
    _compare(state_dict, names, architecture)
    dropped = set(architecture.edges) - set(
        (architecture.pruned() if prune else architecture).edges
    )
    dead = tuple(_cell_prefix(source, target) for source, target in dropped)
    return Conversion(
        {names[key]: value for key, value in state_dict.items() if not names[key].startswith(dead)},
        tuple(
            f'{source} -> {target}'
            for source, target in architecture.edges
            if (source, target) in dropped
        ),
    )


def supernet_from_authors(
    state_dict: Mapping[str, Tensor], supernet: DNASSupernet
) -> dict[str, Tensor]:
    """Return the authors' state dict of a search stage as this package's.

    Args:
        state_dict: State dict of the authors' code, from :func:`load_weights`.
        supernet: Supernet of the stage, built with ``prune=False``.

    Raises:
        CheckpointError: The state dict is of another supernet.
    """
    weights = dict(state_dict)
    (name,) = supernet.architecture_parameters()
    if name not in weights:
        raise CheckpointError(f'there are no {name}: no checkpoint of {type(supernet).__name__}')
    theirs = weights.pop(name)  # (layers, scales, ...), also where there is no node
    names = _supernet_key_names(supernet)
    _compare(weights, names, supernet.architecture)
    rows = [theirs[spec.node.layer, spec.node.scale] for spec in supernet.architecture.nodes]
    if name == 'betas':
        sizes = [len(spec.inputs) for spec in supernet.architecture.nodes]
        ours = torch.cat([row[:size] for row, size in zip(rows, sizes, strict=True)])
    else:
        ours = torch.stack(rows)
    return {f'backbone.{name}': ours, **{names[key]: value for key, value in weights.items()}}


def to_authors(
    state_dict: Mapping[str, Tensor], architecture: DNASArchitecture
) -> dict[str, Tensor]:
    """Return this package's state dict under the authors' keys; inverse of :func:`from_authors`.

    Cells that were pruned are missing in it.

    Raises:
        CheckpointError: The state dict is of another network.
    """
    names = {ours: theirs for theirs, ours in _key_names(architecture).items()}
    foreign = [key for key in state_dict if key not in names]
    if foreign:
        raise CheckpointError(
            f'this is no checkpoint of {architecture.name} with DNASHead: {len(foreign)} of '
            f'{len(state_dict)} tensors are not of it (first {foreign[0]})'
        )
    return {names[key]: value for key, value in state_dict.items()}


def _key_names(architecture: DNASArchitecture) -> dict[str, str]:
    """Return this package's name of every tensor in the authors' checkpoint, by their name."""
    modules = list(_OUTSIDE_CELLS)
    for theirs, source, spec in _cells(architecture):
        for k, name in enumerate(sorted(spec.operations, key=OPERATIONS.index)):
            modules += _operation(f'{theirs}._ops.{k}', _cell_prefix(source, spec.node), name)
    return _tensor_names(modules)


def _supernet_key_names(supernet: DNASSupernet) -> dict[str, str]:
    """Return these names for a supernet, without its architecture parameters."""
    modules = list(_OUTSIDE_CELLS)
    for theirs, source, spec in _cells(supernet.architecture):
        ours = _cell_prefix(source, spec.node)
        if isinstance(supernet, DNASCellSupernet):
            for name in OPERATIONS:
                modules += _operation(f'{theirs}._ops.{name}', ours, name)
        else:
            modules += [
                (f'{theirs}.op.1', f'{ours}0', _CONV),
                (f'{theirs}.op.2', f'{ours}1', _NORM),
            ]
    return _tensor_names(modules)


def _cells(architecture: DNASArchitecture) -> Iterator[tuple[str, Node, NodeSpec]]:
    """Yield the authors' name of every cell, with its source and its target's spec."""
    for spec in architecture.nodes:
        for source in spec.inputs:
            # numpy's way of printing the source is part of the authors' keys.
            yield f'cells.{spec.node.layer}.{spec.node.scale}.{np.array(source)}', source, spec


def _operation(theirs: str, cell: str, name: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return an operation's modules: the authors' name, this package's, and the tensors."""
    # The authors' prefix of the operation's layers, and the index of its normalisation.
    kind = OPERATION_SPECS[name].kind
    inside, last = {'conv': ('', 1), 'separable_conv': ('op.sep_0.', 2)}.get(kind, ('conv1x1.', 1))
    return [
        (f'{theirs}.{inside}{i}', f'{cell}{name}.{i}', _CONV if i < last else _NORM)
        for i in range(last + 1)
    ]


def _tensor_names(modules: Iterable[tuple[str, str, tuple[str, ...]]]) -> dict[str, str]:
    return {
        f'{theirs}.{tensor}': f'{ours}.{tensor}'
        for theirs, ours, tensors in modules
        for tensor in tensors
    }


def _compare(state_dict: Mapping[str, Tensor], names: dict, architecture: DNASArchitecture) -> None:
    """Refuse a checkpoint that is not exactly of the architecture, with what differs.

    Dilations and kinds of pooling leave no trace in a checkpoint, so they cannot be compared.
    """
    found, listed = _edges(state_dict), set(architecture.edges)
    if not found:
        raise CheckpointError(
            "there are no cells under the authors' keys (cells.<layer>.<scale>.[<source>]...); the "
            f"first key is '{next(iter(state_dict))}'"
        )
    if found != listed:
        layers = 1 + max((target.layer for _, target in found), default=-1)
        raise CheckpointError(
            f'this is a checkpoint of another architecture than {architecture.name}: it has '
            f'{layers} layers and {len(found)} edges; only in the checkpoint: '
            f'{_some(found - listed)}; only in the architecture: {_some(listed - found)}'
        )
    given = {key for key in state_dict if not key.endswith(_COUNTER)}
    needed = {key for key in names if not key.endswith(_COUNTER)}
    odd = given ^ needed
    for key in given & needed:
        operation = OPERATION_SPECS.get(names[key].split('.')[-3])
        if operation and key.endswith('.0.weight'):
            odd |= {key} if state_dict[key].shape[-1] != operation.kernel_size else set()
    if odd:
        cells = _edges(odd)
        where = f'operations differ on {_some(cells)}' if cells else 'stem or head differ'
        raise CheckpointError(
            f'this is no checkpoint of {architecture.name}: {where}; {len(needed - given)} tensors '
            f'are missing, {len(given - needed)} are of something else (first {min(odd)})'
        )


def _edges(keys: Iterable[str]) -> set[tuple[Node, Node]]:
    """Return the edges whose cells the authors' keys name."""
    matches = (_EDGE.match(key) for key in keys)
    numbers = (map(int, match.groups()) for match in matches if match)
    return {(Node(c, d), Node(a, b)) for a, b, c, d in numbers}


def _some(edges: set[tuple[Node, Node]]) -> str:
    names = [f'{source} -> {target}' for source, target in sorted(edges)]
    return f'{len(names)} ({", ".join(names[:4])}{", ..." if len(names) > 4 else ""})'


def _cell_prefix(source: Node, target: Node) -> str:
    return f'backbone.nodes.{node_key(target)}.{node_key(source)}.'

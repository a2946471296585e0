"""Conversion between checkpoints of the authors' released code and of this package.

The authors' keys are ``stem<i>``, ``cells.<layer>.<scale>.<source>._ops.<k>`` and ``last_conv``.
The source is formatted by numpy (``[2 0]``, ``[10  0]``); ``k`` counts the node's operations in the
order of the paper's table 1. In supernets, ``k`` is the name of the operation, light cells have
``op`` instead of ``_ops.<k>``, and ``betas`` or ``alphas`` are indexed by layer and scale.
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
    """A converted state dict and the missing cells.

    Attributes:
        state_dict: Converted tensors by name.
        dropped: Edges of the cells without tensors, one line each. They do not affect the output.
    """

    state_dict: dict[str, Tensor]
    dropped: tuple[str, ...]


def from_authors(
    state_dict: Mapping[str, Tensor], architecture: DNASArchitecture, prune: bool = True
) -> Conversion:
    """Convert the authors' state dict of a retrained network.

    Args:
        state_dict: State dict of the authors' code, from :func:`load_weights`.
        architecture: Architecture of the network, level ``'cell'``.
        prune: Whether the result is for ``DNAS(prune=True)``, without cells that do not affect the
            output; they may then be missing, as in the result of :func:`to_authors`.

    Raises:
        CheckpointError: The state dict is of another network; the message states the differences.

    Example:
        >>> weights = load_weights('model_best.pth.tar')  # doctest: +SKIP
        >>> conversion = from_authors(weights, load_architecture('dnas_l14_gid5'))  # doctest: +SKIP
        >>> network.load_state_dict(conversion.state_dict)  # doctest: +SKIP
    """
    result = architecture.pruned() if prune else architecture
    needed = set(result.edges)
    if _edges(state_dict) == needed:
        architecture = result
    names = _key_names(architecture)
    _compare(state_dict, names, architecture)
    dropped = [edge for edge in architecture.edges if edge not in needed]
    dead = tuple(_cell_prefix(source, target) for source, target in dropped)
    return Conversion(
        {names[key]: value for key, value in state_dict.items() if not names[key].startswith(dead)},
        tuple(f'{source} -> {target}' for source, target in dropped),
    )


def supernet_from_authors(
    state_dict: Mapping[str, Tensor], supernet: DNASSupernet
) -> dict[str, Tensor]:
    """Convert the authors' state dict of a search stage.

    Args:
        state_dict: State dict of the authors' code, from :func:`load_weights`.
        supernet: Supernet of the stage, built with ``prune=False``.

    Raises:
        CheckpointError: The state dict is of another supernet.
    """
    weights = dict(state_dict)
    (name,) = supernet.architecture_parameters()
    if name not in weights:
        raise CheckpointError(f'{name} are missing: no checkpoint of {type(supernet).__name__}')
    theirs = weights.pop(name)  # (layers, scales, ...), with rows for missing nodes
    names = _supernet_key_names(supernet)
    _compare(weights, names, supernet.architecture)
    rows = [theirs[spec.node.layer, spec.node.scale] for spec in supernet.architecture.nodes]
    if name == 'betas':
        sizes = [len(spec.inputs) for spec in supernet.architecture.nodes]
        ours = torch.cat([row[:size] for row, size in zip(rows, sizes, strict=True)])
    else:
        ours = torch.stack(rows)
    return {f'backbone.{name}': ours, **{names[key]: value for key, value in weights.items()}}


def to_authors(state_dict: Mapping[str, Tensor], architecture: DNASArchitecture) -> Conversion:
    """Convert a state dict to the authors' keys; inverse of :func:`from_authors`.

    Cells that ``DNAS(prune=True)`` does not have are missing in the result: the authors' code loads
    it with ``strict=False``.

    Raises:
        CheckpointError: The state dict is of another network.
    """
    names = {ours: theirs for theirs, ours in _key_names(architecture).items()}
    foreign = [key for key in state_dict if key not in names]
    if foreign:
        raise CheckpointError(
            f'this is no checkpoint of {architecture.name} with DNASHead: {len(foreign)} of '
            f'{len(state_dict)} tensors do not belong to it (first {foreign[0]})'
        )
    converted = {names[key]: value for key, value in state_dict.items()}
    found = _edges(converted)
    missing = [edge for edge in architecture.edges if edge not in found]
    return Conversion(converted, tuple(f'{source} -> {target}' for source, target in missing))


def _key_names(architecture: DNASArchitecture) -> dict[str, str]:
    """Return this package's names of the tensors of a network, by the authors' names."""
    modules = list(_OUTSIDE_CELLS)
    for theirs, source, spec in _cells(architecture):
        for k, name in enumerate(sorted(spec.operations, key=OPERATIONS.index)):
            modules += _operation(f'{theirs}._ops.{k}', _cell_prefix(source, spec.node), name)
    return _tensor_names(modules)


def _supernet_key_names(supernet: DNASSupernet) -> dict[str, str]:
    """Return the same for a supernet, without its architecture parameters."""
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
            # The authors' keys contain the source as formatted by numpy.
            yield f'cells.{spec.node.layer}.{spec.node.scale}.{np.array(source)}', source, spec


def _operation(theirs: str, cell: str, name: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the modules of an operation: the authors' name, this package's name, tensors."""
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
    """Raise with the differences unless a checkpoint has exactly the architecture's tensors.

    Checkpoints do not contain dilations and kinds of pooling, so these are not compared.
    """
    found, listed = _edges(state_dict), set(architecture.edges)
    if not found:
        raise CheckpointError(
            "no cells under the authors' keys (cells.<layer>.<scale>.[<source>]...); the "
            f"first key is '{next(iter(state_dict))}'"
        )
    if found != listed:
        layers = 1 + max((target.layer for _, target in found), default=-1)
        raise CheckpointError(
            f'the checkpoint is of another architecture than {architecture.name}: it has '
            f'{layers} layers and {len(found)} edges; only in the checkpoint: '
            f'{_some(found - listed)}; only in the architecture: {_some(listed - found)}'
        )
    present = {key for key in state_dict if not key.endswith(_COUNTER)}
    required = {key for key in names if not key.endswith(_COUNTER)}
    differing = present ^ required
    for key in present & required:
        operation = OPERATION_SPECS.get(names[key].split('.')[-3])
        size = operation.kernel_size if operation and key.endswith('.0.weight') else None
        if size is not None and state_dict[key].shape[-1] != size:
            differing.add(key)
    if differing:
        cells = _edges(differing)
        where = f'operations differ on {_some(cells)}' if cells else 'stem or head differ'
        raise CheckpointError(
            f'this is no checkpoint of {architecture.name}: {where}; '
            f'{len(required - present)} tensors are missing, '
            f'{len(present - required)} are unexpected (first {min(differing)})'
        )


def _edges(keys: Iterable[str]) -> set[tuple[Node, Node]]:
    """Return the edges of the cells in the authors' keys."""
    matches = (_EDGE.match(key) for key in keys)
    numbers = (map(int, match.groups()) for match in matches if match)
    return {(Node(c, d), Node(a, b)) for a, b, c, d in numbers}


def _some(edges: set[tuple[Node, Node]]) -> str:
    names = [f'{source} -> {target}' for source, target in sorted(edges)]
    return f'{len(names)} ({", ".join(names[:4])}{", ..." if len(names) > 4 else ""})'


def _cell_prefix(source: Node, target: Node) -> str:
    return f'backbone.nodes.{node_key(target)}.{node_key(source)}.'

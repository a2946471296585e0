"""Between the authors' checkpoints and this package's (facts of the released code).

The authors' keys: ``stem<i>``, ``cells.<layer>.<scale>.<source>._ops.<k>`` with the source as numpy
prints it (``[2 0]``, ``[10  0]``) and ``k`` counting the node's operations in table order, and
``last_conv``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.architectures import DNASArchitecture
from dnas_mmseg.architectures.dnas import OPERATIONS, STEM, Node

_HEAD = {
    'last_conv.0.': 'decode_head.convs.0.0.',
    'last_conv.1.': 'decode_head.convs.0.1.',
    'last_conv.3.': 'decode_head.convs.2.0.',
    'last_conv.4.': 'decode_head.convs.2.1.',
    'last_conv.6.': 'decode_head.conv_seg.',
}
_STEM = {f'stem{i}.': f'backbone.stem.{i}.' for i in range(3)}
_CELL = re.compile(r'cells\.(\d+)\.(\d+)\.\[\s*(-?\d+)\s+(\d+)\s*\]\._ops\.(\d+)\.(.+)')


class CheckpointError(ValueError):
    """A checkpoint that is not one, or not of the network asked for."""


@dataclass(frozen=True)
class Conversion:
    """A converted state dict and what was left behind.

    Attributes:
        state_dict: The converted tensors.
        dropped: Dead cells that the source has and the result has not, one line each.
    """

    state_dict: dict[str, Tensor]
    dropped: tuple[str, ...]


def load_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, read with ``weights_only=True``.

    Raises:
        CheckpointError: The file is damaged, or a pickle of something else than weights.
    """
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f'{path}: no such file') from None
    except Exception as error:
        named = re.search(r'GLOBAL (\S+)', str(error))
        if named:
            raise CheckpointError(
                f'{path} is refused: it holds {named[1]}, which is not weights; loading it could '
                'run any code'
            ) from None
        raise CheckpointError(f'{path} is no checkpoint, or a damaged one') from None
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f'{path} holds no state_dict of tensors')
    return {key.removeprefix('module.'): value for key, value in state.items()}


def from_authors(
    state_dict: Mapping[str, Tensor], architecture: DNASArchitecture, prune: bool = True
) -> Conversion:
    """The authors' state dict of a retrained network as this package's.

    Args:
        state_dict: As :func:`load_weights` returns it.
        architecture: The network it should be of, level ``'cell'``.
        prune: For ``DNAS(prune=True)``: leave out cells that cannot influence the output.

    Raises:
        CheckpointError: It is of another network; the message says what differs.
    """
    wanted = architecture.pruned() if prune else architecture
    kept = set(wanted.edges)
    operations = {node: _in_table_order(names) for node, _, names in architecture.nodes}
    result: dict[str, Tensor] = {}
    found: set[tuple[Node, Node]] = set()
    dropped: dict[str, None] = {}
    for key, value in state_dict.items():
        cell = _CELL.fullmatch(key)
        if cell is None:
            result[_rename(key, {**_STEM, **_HEAD})] = value
            continue
        layer, scale, source_layer, source_scale, k, rest = cell.groups()
        source, target = Node(int(source_layer), int(source_scale)), Node(int(layer), int(scale))
        found.add((source, target))
        if (source, target) in kept and int(k) < len(operations[target]):
            operation = operations[target][int(k)]
            result[f'{_cell_prefix(source, target)}{operation}.{_strip(rest)}'] = value
        elif (source, target) not in kept:
            dropped[f'{source} -> {target}'] = None
    _compare_edges(found, set(architecture.edges), architecture.name)
    return Conversion(result, tuple(dropped))


def to_authors(
    state_dict: Mapping[str, Tensor], architecture: DNASArchitecture
) -> dict[str, Tensor]:
    """This package's state dict under the authors' keys; inverse of :func:`from_authors`.

    Cells that were pruned are not in it.
    """
    cells = {
        _cell_prefix(source, node) + name: (source, node, k, name)
        for node, inputs, names in architecture.nodes
        for source in inputs
        for k, name in enumerate(_in_table_order(names))
    }
    renamed = {ours: theirs for theirs, ours in {**_STEM, **_HEAD}.items()}
    result = {}
    for key, value in state_dict.items():
        prefix = '.'.join(key.split('.')[:5])
        if prefix not in cells:
            result[_rename(key, renamed)] = value
            continue
        source, node, k, name = cells[prefix]
        rest = key.removeprefix(prefix + '.')
        place = f'cells.{node.layer}.{node.scale}.{np.array(source)}._ops.{k}'
        result[f'{place}.{_nest(name, rest)}'] = value
    return result


def load_exactly(model: torch.nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """Load weights that fill the model exactly, or say why they do not.

    Args:
        model: Changed in place.
        state_dict: The weights. Cells that the model has pruned may be in it.
        what: What the message calls them, the file's name for instance.

    Raises:
        CheckpointError: Names missing and unexpected tensors, or those of another shape.
        ArchitectureError: They are of another architecture.
    """
    try:
        missing, unexpected = model.load_state_dict(dict(state_dict), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f'{what} does not fit the model: {error}') from None
    problems = [
        f'{len(keys)} tensors {kind} ({", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""})'
        for kind, keys in (('are missing', missing), ('are unexpected', unexpected))
        if keys
    ]
    if problems:
        raise CheckpointError(f'{what} does not fit the model: ' + ', '.join(problems))


def _compare_edges(found: set, listed: set, name: str) -> None:
    if found == listed:
        return

    def some(edges: set) -> str:
        names = [f'{source} -> {target}' for source, target in sorted(edges)]
        return f'{len(names)} ({", ".join(names[:4])}{", ..." if len(names) > 4 else ""})'

    layers = 1 + max((target.layer for _, target in found), default=-1)
    raise CheckpointError(
        f'this is a checkpoint of another architecture than {name}: it has {layers} layers and '
        f'{len(found)} edges; only in the checkpoint: {some(found - listed)}; '
        f'only in the architecture: {some(listed - found)}'
    )


def _cell_prefix(source: Node, target: Node) -> str:
    name = 'stem' if source == STEM else f'l{source.layer}_s{source.scale}'
    return f'backbone.nodes.l{target.layer}_s{target.scale}.{name}.'


def _rename(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    raise CheckpointError(f"key '{key}' is none of the authors' retrained networks")


def _in_table_order(operations: tuple[str, ...]) -> list[str]:
    return sorted(operations, key=OPERATIONS.index)


def _strip(rest: str) -> str:
    """The authors wrap separable convolutions in ``op.sep_0`` and projections in ``conv1x1``."""
    return rest.removeprefix('op.sep_0.').removeprefix('conv1x1.')


def _nest(operation: str, rest: str) -> str:
    if operation.startswith('sep_conv'):
        return f'op.sep_0.{rest}'
    if 'pool' in operation:
        return f'conv1x1.{rest}'
    return rest

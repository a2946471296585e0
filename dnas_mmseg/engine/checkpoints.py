"""Reading of checkpoints, and loading that is exact or refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from dnas_mmseg.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that is invalid, or not of the network that is needed."""


def load_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint file, read with ``weights_only=True``.

    Raises:
        CheckpointError: The file is damaged, or a pickle of something else than weights.
    """
    return load_weights_and_meta(path)[0]


def load_weights_and_meta(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Return a checkpoint's state dict, and the facts of its training data (``dataset_meta``).

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
    tensors = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    if not (tensors and state):
        raise CheckpointError(f'{path} holds no state_dict of tensors')
    meta = checkpoint.get('meta') or {}
    data = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    return {k.removeprefix('module.'): v for k, v in state.items()}, dict(data or {})


def load_exactly(model: torch.nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """Load weights that fill the model exactly, or say why they do not.

    Args:
        model: Model that gets the weights, in place.
        state_dict: Weights. Cells that the model has pruned may be in it.
        what: Name of the weights in the message, the file's for instance.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape; the message names
            them.
        ArchitectureError: The weights are of another architecture.
    """
    try:
        missing, unexpected = model.load_state_dict(dict(state_dict), strict=False)
    except RuntimeError as error:
        first, *lines = (line.strip() for line in str(error).splitlines())
        more = f' (and {len(lines) - 3} more)' if len(lines) > 3 else ''
        told = ' '.join(lines[:3]) or first
        raise CheckpointError(f'{what} does not fit the model: {told}{more}') from None
    problems = [
        f'{len(keys)} tensors {kind} ({", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""})'
        for kind, keys in (('are missing', missing), ('are unexpected', unexpected))
        if keys
    ]
    if problems:
        raise CheckpointError(f'{what} does not fit the model: ' + ', '.join(problems))

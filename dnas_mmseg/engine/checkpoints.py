"""Reading of checkpoints, and loading that is exact or refused."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnas_mmseg.errors import UserError

CHECKSUM = 'checksum'
"""Key of a checkpoint's ``meta`` with the checksum of its tensors."""

POINTER = 'last_checkpoint'
"""File of a work dir with the name of its last checkpoint."""


class CheckpointError(UserError):
    """A checkpoint that is invalid, or not of the network that is needed."""


def last_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """Return the last checkpoint of a training; None before the first one.

    It is always a file of the work dir, which may have been moved or copied: of an absolute path,
    as mmengine's own hook writes it, only the name counts.
    """
    pointer = Path(work_dir) / POINTER
    if not pointer.is_file():
        return None
    text = pointer.read_text(encoding='utf-8').strip()
    path = pointer.parent / (Path(text).name if os.path.isabs(text) else text)
    return path if path.is_file() else None


def find_checkpoint(path: str | os.PathLike) -> Path:
    """Return a checkpoint file; a work dir stands for its last checkpoint.

    Raises:
        CheckpointError: There is no such file, or the folder holds no checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise CheckpointError(f'{path}: no such file')
        return path
    found = last_checkpoint(path)
    if found is None:
        raise CheckpointError(f'{path}: the folder holds no checkpoint ({POINTER} names none)')
    return found


def read_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint file without running code, and verify its checksum where it has one.

    Args:
        path: Path of the file.
        map_location: Device of the tensors, as ``torch.load`` takes it.

    Raises:
        CheckpointError: The file is missing or damaged, or holds more than weights.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f'{path}: no such file')
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        named = re.search(r'GLOBAL (\S+)', str(error))
        if named:
            raise CheckpointError(
                f'{path} is refused: it holds {named[1]}, which is not weights; loading it could '
                'run any code'
            ) from None
        raise CheckpointError(f'{path} is no checkpoint, or a damaged one') from None
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    expected = meta.get(CHECKSUM) if isinstance(meta, Mapping) else None
    if expected is not None and expected != tensor_checksum(checkpoint):
        raise CheckpointError(
            f'{path} is damaged: its tensors are not those that were written (their checksum '
            'differs)'
        )
    return checkpoint


def tensor_checksum(checkpoint: Mapping[str, Any]) -> str:
    """Return a checksum of all tensors of a checkpoint, with their places in it."""
    digest = hashlib.blake2b(digest_size=16)
    for place, tensor in _tensors(checkpoint):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f'{place} {plain.dtype} {tuple(plain.shape)}\n'.encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b'')
    return digest.hexdigest()


def _tensors(value: Any, place: str = '') -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _tensors(child, f'{place}.{key}')
    elif isinstance(value, (list, tuple)):
        for i, child in enumerate(value):
            yield from _tensors(child, f'{place}.{i}')


def find_usable_checkpoint(work_dir: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """Return the last checkpoint of a training that is whole, and what is wrong with later ones.

    Args:
        work_dir: Folder of the training.

    Returns:
        Path of the checkpoint, None where none is whole; and a sentence on each damaged one.
    """
    pointer = Path(work_dir) / POINTER
    if not pointer.is_file():
        return None, []
    last, problems = last_checkpoint(work_dir), []
    if last is None:
        problems.append(f'{pointer}: the checkpoint that it names is missing')
    older = [p for p in Path(work_dir).glob('*.pth') if not p.name.startswith(('.', 'best_'))]
    older.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in dict.fromkeys([*filter(None, [last]), *older]):
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            problems.append(str(error))
        else:
            return path, problems
    return None, problems


def load_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint file, read with ``weights_only=True``.

    Args:
        path: Path of the file, or a work dir for its last checkpoint.

    Raises:
        CheckpointError: The file is damaged, or a pickle of something else than weights.
    """
    return load_weights_and_meta(path)[0]


def load_weights_and_meta(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Return a checkpoint's state dict, and the facts of its training data (``dataset_meta``).

    Args:
        path: Path of the file, or a work dir for its last checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or a pickle of something else than weights.
    """
    path = find_checkpoint(path)
    checkpoint = read_checkpoint(path)
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
        reasons = ' '.join(lines[:3]) or first
        raise CheckpointError(f'{what} does not fit the model: {reasons}{more}') from None
    problems = [
        f'{len(keys)} tensors {kind} ({", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""})'
        for kind, keys in (('are missing', missing), ('are unexpected', unexpected))
        if keys
    ]
    if problems:
        raise CheckpointError(f'{what} does not fit the model: ' + ', '.join(problems))

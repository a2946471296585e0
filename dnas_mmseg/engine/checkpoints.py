"""Safe reading and strict loading of checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_json
from dnas_mmseg.work_dir import VALIDATION_FILE

SCORE = 'mIoU'
"""Validation score that is compared, in percent."""

_FALL = 2.0
"""Fall of the score from which on the best checkpoint is used: two standard deviations of a score
over seeds. A choice among validations that differ by chance would gain nothing."""

CHECKSUM = 'checksum'
"""Key in a checkpoint's ``meta`` that holds the checksum of its tensors."""

POINTER = 'last_checkpoint'
"""File in a work dir that contains the name of its last checkpoint."""


class CheckpointError(UserError):
    """A checkpoint is invalid or belongs to another network."""


def last_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """Return the last checkpoint of a training run; None before the first one.

    The file is always looked up in ``work_dir``, which may have been moved or copied: only the name
    is used of an absolute path, as mmengine's own hook writes it.
    """
    pointer = Path(work_dir) / POINTER
    if not pointer.is_file():
        return None
    text = pointer.read_text(encoding='utf-8').strip()
    path = pointer.parent / (Path(text).name if os.path.isabs(text) else text)
    return path if path.is_file() else None


def find_checkpoint(path: str | os.PathLike) -> Path:
    """Resolve a checkpoint file, or a work dir to its last checkpoint.

    If the validation score has fallen by more than chance since the best validation, it is the
    checkpoint of that validation.

    Raises:
        CheckpointError: The file does not exist, or the folder contains no checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise CheckpointError(f'{path}: no such file')
        return path
    found = last_checkpoint(path)
    scores = path / VALIDATION_FILE
    if scores.is_file():
        stored = json.loads(scores.read_text(encoding='utf-8'))
        best = path / stored['checkpoint']
        if stored['best'] - stored['last'] > _FALL and best.is_file():
            found = best
    if found is None:
        raise CheckpointError(
            f'{path}: the folder contains no checkpoint ({POINTER} is missing or its target is)'
        )
    return found


def record_validation(work_dir: str | os.PathLike, last: float, best: float, name: str) -> None:
    """Store the validation scores of a training run, which :func:`find_checkpoint` compares.

    Args:
        work_dir: Work dir of the training run.
        last: Score of the last validation, in percent.
        best: Best score, in percent.
        name: Name of the checkpoint with the best score in the work dir.
    """
    document = dict(last=last, best=best, checkpoint=name)
    write_json(Path(work_dir) / VALIDATION_FILE, document)


def read_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint file with ``weights_only=True`` and verify its checksum, if it has one.

    Args:
        path: Path of the file.
        map_location: Device of the tensors, as in :func:`torch.load`.

    Raises:
        CheckpointError: The file is missing or damaged, or contains objects other than weights.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f'{path}: no such file')
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        forbidden = re.search(r'GLOBAL (\S+)', str(error))
        if forbidden:
            raise CheckpointError(
                f'{path} is refused: it contains {forbidden[1]}, which is not weights; loading it '
                'could run arbitrary code'
            ) from None
        raise CheckpointError(f'{path} is not a checkpoint, or it is damaged') from None
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    expected = meta.get(CHECKSUM) if isinstance(meta, Mapping) else None
    if expected is not None and expected != tensor_checksum(checkpoint):
        raise CheckpointError(
            f'{path} is damaged: the checksum of its tensors differs from the stored one'
        )
    return checkpoint


def tensor_checksum(checkpoint: Mapping[str, Any]) -> str:
    """Return a BLAKE2b checksum over all tensors of a checkpoint and their keys."""
    digest = hashlib.blake2b(digest_size=16)
    for key, tensor in _tensors(checkpoint):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f'{key} {plain.dtype} {tuple(plain.shape)}\n'.encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b'')
    return digest.hexdigest()


def _tensors(value: Any, key: str = '') -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield key, value
    elif isinstance(value, Mapping):
        for name, child in value.items():
            yield from _tensors(child, f'{key}.{name}')
    elif isinstance(value, (list, tuple)):
        for i, child in enumerate(value):
            yield from _tensors(child, f'{key}.{i}')


def find_usable_checkpoint(work_dir: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """Find the newest intact checkpoint of a training run.

    Args:
        work_dir: Work dir of the training run.

    Returns:
        Path of the checkpoint, None if no checkpoint is intact; and an error message for each
        newer checkpoint that is damaged or missing.
    """
    pointer = Path(work_dir) / POINTER
    if not pointer.is_file():
        return None, []
    last, problems = last_checkpoint(work_dir), []
    if last is None:
        problems.append(f'{pointer}: the checkpoint that it refers to is missing')
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
    """Load the state dict of a checkpoint file with ``weights_only=True``.

    Args:
        path: Path of the file, or of a work dir for its last checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or contains objects other than weights.
    """
    return load_weights_and_meta(path)[0]


def load_weights_and_meta(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Load a checkpoint's state dict and the metadata of its training set (``dataset_meta``).

    Args:
        path: Path of the file, or of a work dir for its last checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or contains objects other than weights.
    """
    path = find_checkpoint(path)
    checkpoint = read_checkpoint(path)
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    tensors = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    if not (tensors and state):
        raise CheckpointError(f'{path} contains no state_dict of tensors')
    meta = checkpoint.get('meta') or {}
    data = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    return {k.removeprefix('module.'): v for k, v in state.items()}, dict(data or {})


def load_exactly(model: torch.nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a model and require that their names and shapes match exactly.

    Args:
        model: Model to load the weights into, in place.
        state_dict: Weights. Cells that the model pruned may be included.
        what: Name of the weights in error messages, such as the file path.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape; the message lists
            them.
        ArchitectureError: The weights belong to another architecture.
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

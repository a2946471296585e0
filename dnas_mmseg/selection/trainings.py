"""Training runs of candidates, which continue when a candidate is promoted.

A rung is a cycle of the learning rate: it starts from the weights of the rung below, with the
schedule of the candidate's own config until the end of the rung (warm restarts of growing length,
SGDR, Loshchilov and Hutter 2017). A constant rate, which needs no restarts, underestimates networks
that profit from the decay (benchmarks/selection.md).
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import DATASETS

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.checkpoints import POINTER, find_usable_checkpoint
from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.engine.config_parts import set_work_dir, type_name
from dnas_mmseg.engine.length import scale_schedule
from dnas_mmseg.engine.running import train
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_json
from dnas_mmseg.raster import parse_array_name
from dnas_mmseg.visualization.learning_curves import read_scores

from .algorithm import Request
from .candidates import CandidateSet
from .split import (
    selection_lists,
    set_lists,
    validation_lists,
    validation_problem,
)

SCORE = 'mIoU'
"""Metric that ranks candidates."""

_KEY = re.compile(r'\w[\w.+-]*-\d+-\d+')
"""Keys of trainings: candidate name, rung and seed."""

_CHECKPOINTS = 4
_CHECKPOINT_SECONDS = 20.0
"""Largest number of checkpoints per rung, and least number of seconds between them. A killed
training of minutes repeats at most a quarter of its epochs, a shorter one more."""

TILE_MEMORY = 2**29
"""Largest size of the decoded tiles that a worker keeps between epochs and trainings, in bytes."""

_AVERAGE = dict(
    type='EMAHook',
    ema_type='ForeachMomentumAnnealingEMA',
    momentum=0.01,
    gamma=10,
    update_buffers=True,
)
"""Average of the weights over the last tenth of the steps of a rung, at most 100: it is what is
scored, and what the next rung starts from."""

_RUNG_SEEDS = 1000
"""Difference of the seeds of two rungs, so that orders and crops of tiles are not repeated."""

_VALIDATION = 'validation'
"""Folder of copies of training and validation list, if candidates are scored on the latter."""

_OF_PROCESSES = ('prefetch_factor', 'timeout', 'multiprocessing_context')
"""Settings of a loader that torch refuses without processes."""

_CHECKSUMS = 'checksums.json'
_READERS = 8
"""Number of files read in parallel for the checksum of the data, to hide the latency of network
file systems."""
_BLOCK = 1 << 24
"""Number of bytes of a file that are read at once for its checksum."""


def breaks_gpu(error: Exception) -> bool:
    """Return whether this process can no longer use its GPU after an error.

    All later calls fail after a CUDA error, such as a failed assertion of a kernel, but not if a
    GPU is out of memory.
    """
    return 'CUDA error' in str(error) and not isinstance(error, torch.cuda.OutOfMemoryError)


def key_of(request: Request) -> str:
    """Return the key of a training in the queue."""
    return f'{request.candidate.name}-{request.fidelity}-{request.seed}'


class CandidateTrainings:
    """Training runs of a selection in a work dir.

    Args:
        candidates: Candidates of the selection.
        work_dir: Work dir of the selection; each candidate has a folder in ``trainings``.
        splits: Folder of the lists to train on and to score on; defaults to that of the work dir.
    """

    def __init__(
        self, candidates: CandidateSet, work_dir: Path, splits: Path | None = None
    ) -> None:
        self.candidates, self.plan = candidates, candidates.plan
        self.folder, self._splits = work_dir / 'trainings', splits or work_dir / 'splits'

    @cached_property
    def validation_problem(self) -> str | None:
        """Why candidates cannot be scored on the validation list; None if they can."""
        return validation_problem(self.candidates.config)

    @property
    def scores_on_validation(self) -> bool:
        """Whether candidates are scored on the validation list, after a call of :meth:`lists`."""
        return (self._splits / _VALIDATION / 'scored.txt').is_file()

    def lists(self, seed: int = 0) -> tuple[Path, Path]:
        """Return the lists to train on and to score on.

        They are given by the user, or training and validation list of the config, or parts of the
        training list, which differ between seeds. The first call decides; the lists stay as they
        are then if those of the user change.
        """
        if self.plan.lists is not None:
            first, second = map(Path, self.plan.lists)
            return first, second
        if not any(self._splits.glob('*/scored.txt')) and self.validation_problem is None:
            validation_lists(self.candidates.config, self._splits / _VALIDATION)
        if self.scores_on_validation:
            folder = self._splits / _VALIDATION
        else:
            folder = self._splits / str(seed)
            if not (folder / 'scored.txt').is_file():
                selection_lists(self.candidates.config, self.plan.seed + seed, folder)
        return folder / 'train.txt', folder / 'scored.txt'

    def with_lists(self, config: Config, seed: int = 0) -> Config:
        """Return a config that trains on tiles to train on, and validates on those to score on."""
        set_lists(config, *(path.resolve() for path in self.lists(seed)))
        return config

    def folder_of(self, key: str) -> Path:
        """Return the folder of a training; all rungs of a candidate and seed share it.

        Raises:
            ValueError: The key is invalid. Keys come from the queue, which others may write to.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f'{key!r} is not the key of a training')
        name, _, seed = key.rsplit('-', 2)
        return self.folder / f'{name}-{seed}'

    def checkpoint(self, request: Request) -> Path | None:
        """Return the checkpoint at the end of a training; None if it is not in this work dir."""
        folder = self.folder_of(key_of(request))
        is_finished = (folder / _result(request.fidelity)).is_file()
        return _checkpoint(folder / _folder(request.fidelity)) if is_finished else None

    def content(
        self, request: Request, epochs: Sequence[int], validations: Sequence[int]
    ) -> dict[str, Any]:
        """Return the description of a training, a JSON object for the queue.

        Args:
            request: The requested training.
            epochs: Number of epochs until the end of each rung.
            validations: Number of validations during each rung.
        """
        document = request.candidate.to_document()
        return {
            **document,
            'epochs': list(epochs),
            'validations': list(validations),
            'seed': request.seed,
        }

    def config(self, key: str, content: Mapping[str, Any], rung: int) -> Config:
        """Return the config of the training of a rung.

        The learning rate follows the schedule of the candidate's own config, scaled to the rung.
        The training starts from the averaged weights at the end of the rung below.

        Args:
            key: Key of the training.
            content: Description of the training by :meth:`content`.
            rung: Index of the rung.
        """
        config = self.candidates.full_config(self.candidates.parse(content))
        self.with_lists(config, content['seed'])
        epochs = _epochs(content, rung)
        scale_schedule(config, epochs)
        config.train_cfg.val_interval = math.ceil(epochs / content['validations'][rung])
        set_average(config)
        set_loaders(config)
        set_hooks(config, epochs)
        candidate = self.folder_of(key)
        folder = candidate / _folder(rung)
        set_work_dir(config, folder)
        seed = self.plan.seed + content['seed'] + rung * _RUNG_SEEDS
        config.randomness = {**(config.get('randomness') or {}), 'seed': seed}
        config.resume = _checkpoint(folder) is not None
        if config.resume:
            config.load_from = None
        elif rung:
            before = _checkpoint(candidate / _folder(rung - 1))
            if before is None:
                raise FileNotFoundError(f'{candidate / _folder(rung - 1)} has no checkpoint')
            config.load_from = str(before)
        for name in ('test_dataloader', 'test_cfg', 'test_evaluator'):
            config[name] = None
        # Formatting takes 0.2 s, at the start, at the end and for each checkpoint.
        return Config(config.to_dict(), filename=config.filename, format_python_code=False)

    def run(self, key: str, content: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """Train a rung, and those below it whose result or checkpoint is not in this work dir.

        A finished rung is not repeated, an interrupted one is resumed.

        Returns:
            The final score, in percent, and metadata of the training.

        Raises:
            FolderInUseError: Another process runs this training.
            Exception: The training failed, or its score is not finite.
        """
        folder, rung = self.folder_of(key), int(key.rsplit('-', 2)[1])
        path = folder / _result(rung)
        # A worker that was considered dead may still run it; only the lock owner may write.
        with lock_folder(folder):
            if not path.is_file():
                began, cpu = time.monotonic(), time.process_time()
                for missing in range(_finished_rungs(folder, rung), rung + 1):
                    self._train_rung(key, content, missing, began, cpu)
        result = json.loads(path.read_text(encoding='utf-8'))
        return result['score'], result['facts']

    def ensure_checkpoint(self, request: Request, content: Mapping[str, Any]) -> Path:
        """Return the checkpoint at the end of a training.

        If it is not in this work dir, because another machine ran the training, the training is
        repeated, on as many threads as there; on CPUs its weights are the same.
        """
        if self.checkpoint(request) is None:
            print(f'{request.candidate.name} was trained elsewhere: repeating its training')
            key = key_of(request)
            (self.folder_of(key) / _result(request.fidelity)).unlink(missing_ok=True)
            with limited_threads(self.plan.threads):
                self.run(key, content)
        checkpoint = self.checkpoint(request)
        assert checkpoint is not None  # `run` has written it
        return checkpoint

    def _train_rung(
        self, key: str, content: Mapping[str, Any], rung: int, began: float, cpu: float
    ) -> None:
        """Train a rung, write its result, and remove the checkpoint of the rung below.

        Args:
            key: Key of the training.
            content: Description of the training.
            rung: Index of the rung.
            began: Time at which the requested training began, with repeated rungs below this one.
            cpu: CPU time of the process then.
        """
        folder = self.folder_of(key)
        steps, score = _train_and_score(self.config(key, content, rung))
        below: dict[str, Any] = {'epochs': 0, 'steps': 0, 'curve': []}
        if rung:
            text = (folder / _result(rung - 1)).read_text(encoding='utf-8')
            below = json.loads(text)['facts']
        begun = below['epochs']
        curve = read_scores(folder / _folder(rung), SCORE).items()
        metadata = {
            'seconds': round(time.monotonic() - began, 1),
            'cpu_seconds': round(time.process_time() - cpu, 1),
            'epochs': begun + _epochs(content, rung),
            'steps': below['steps'] + steps,
            'curve': [*below['curve'], *([begun + epoch, s] for epoch, s in sorted(curve))],
            'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
        }
        write_json(folder / _result(rung), {'score': score, 'facts': metadata}, indent=None)
        if rung:
            _remove_checkpoints(folder, _folder(rung - 1))

    def discard(self, key: str) -> None:
        """Remove the checkpoints of a failed or eliminated candidate; its log remains."""
        if not _KEY.fullmatch(key):
            return
        _remove_checkpoints(self.folder_of(key))


def _folder(rung: int) -> str:
    """Return the name of the work dir of a rung in the folder of a candidate."""
    return f'rung_{rung}'


def _result(rung: int) -> str:
    """Return the name of the file with the result of a rung."""
    return f'{_folder(rung)}.json'


def _epochs(content: Mapping[str, Any], rung: int) -> int:
    """Return the number of epochs of a rung, without those below it."""
    epochs = content['epochs']
    return epochs[rung] - epochs[rung - 1] if rung else epochs[0]


def _finished_rungs(folder: Path, last: int) -> int:
    """Return the number of finished rungs below ``last``, from whose weights it can start."""
    for rung in reversed(range(last)):
        if (folder / _result(rung)).is_file() and _checkpoint(folder / _folder(rung)) is not None:
            return rung + 1
    return 0


def _checkpoint(folder: Path) -> Path | None:
    """Return the newest intact checkpoint of a training run; warn of damaged ones."""
    found, problems = find_usable_checkpoint(folder)
    for problem in problems:
        warn(problem)
    return found


def _remove_checkpoints(folder: Path, rung: str = 'rung_*') -> None:
    """Remove the checkpoints of a candidate's rungs; logs and results remain."""
    for path in (*folder.glob(f'{rung}/{POINTER}'), *folder.glob(f'{rung}/*.pth')):
        path.unlink(missing_ok=True)  # another command may share the folder


def set_loaders(config: Config) -> None:
    """Load tiles in the process of the training if it is on a CPU.

    Workers of a selection use all cores, and keep decoded tiles (:func:`keep_tiles`); the processes
    of a loader would compete for the cores, and restart with every epoch.

    Args:
        config: Config, modified in place.
    """
    if get_device() != 'cpu':
        return
    for name in ('train_dataloader', 'val_dataloader'):
        config[name].update(num_workers=0, persistent_workers=False)
        for key in _OF_PROCESSES:
            config[name].pop(key, None)


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Compute on as many CPU threads as the trainings of a selection.

    Args:
        count: Number of threads; None for that of torch.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_hooks(config: Config, epochs: int) -> None:
    """Set the hooks that exact resuming requires, whatever those of the user's config.

    Nothing stops a training run early: its length is the selection's.

    Args:
        config: Config, modified in place.
        epochs: Number of epochs of the training run.
    """
    config.custom_hooks = [
        hook
        for hook in config.get('custom_hooks') or []
        if not type_name(hook).endswith('EarlyStoppingHook')
    ]
    config.default_hooks = {
        **(config.get('default_hooks') or {}),
        'checkpoint': dict(
            type='AtomicCheckpointHook',
            interval=max(1, epochs // _CHECKPOINTS),
            min_seconds=_CHECKPOINT_SECONDS,
            max_keep_ckpts=1,
        ),
        'sampler_seed': dict(type='EpochSeedHook'),
        'finite_loss': dict(type='FiniteLossHook'),
        'validate_on_resume': dict(type='ValidateOnResumeHook'),
    }


def set_average(config: Config) -> None:
    """Make a config average its weights, in place of an average of its own.

    Args:
        config: Config, modified in place.
    """
    hooks = [hook for hook in config.get('custom_hooks') or [] if type_name(hook) != 'EMAHook']
    config.custom_hooks = [*hooks, dict(_AVERAGE)]


def data_checksum(config: Config, folder: Path) -> str:
    """Return a checksum of the names and contents of all tiles of a selection.

    Args:
        config: Config that trains and validates on the lists of a selection.
        folder: Folder of a cache of file checksums, with size and modification time as key.
    """
    loaders = (config.train_dataloader, config.val_dataloader)
    sets = [DATASETS.build(leaf).pairs for loader in loaders for leaf in leaf_datasets(loader)]
    pairs = [pair for own in sets for pair in own]
    names = [name for pair in pairs for name in pair if name is not None]
    arrays = [parse_array_name(name) for name in names]
    paths = [a.file if a else name for name, a in zip(names, arrays, strict=True)]
    files = [path for path in dict.fromkeys(paths) if os.path.isfile(path)]
    known = _known_checksums(folder / _CHECKSUMS)

    def checksum(name: str) -> tuple[str, list]:
        stat = os.stat(name)
        state = [stat.st_size, stat.st_mtime_ns]
        key = os.path.relpath(name, folder)
        if known.get(key, [])[:2] == state:
            return key, known[key]
        content = hashlib.blake2b(digest_size=16)
        with open(name, 'rb') as stream:
            while block := stream.read(_BLOCK):
                content.update(block)
        return key, [*state, content.hexdigest()]

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(checksum, files))
    write_json(folder / _CHECKSUMS, dict(found), indent=None)
    digest = hashlib.sha256(str([len(own) for own in sets]).encode())
    for key, (*_, content) in found:
        digest.update(f'{os.path.basename(key)} {content}\n'.encode())
    for array in arrays:
        if array is not None:
            digest.update(f'{array.stem}\n'.encode())
    return digest.hexdigest()


def _known_checksums(path: Path) -> dict[str, list]:
    try:
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}


def config_checksum(candidates: CandidateSet) -> str:
    """Return a checksum of the configs of all families, independent of data paths."""
    configs = [candidates.config, *map(candidates.full_config, candidates.initial)]
    documents = [_without_folders(config.to_dict()) for config in configs]
    documents.append(sorted(candidates.families))
    text = json.dumps(documents, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_folders(value: Any) -> Any:
    """Return a config without its folders, which differ between machines."""
    if isinstance(value, Mapping):
        return {
            k: _without_folders(v) for k, v in value.items() if k not in ('data_root', 'work_dir')
        }
    if isinstance(value, (list, tuple)):
        return [_without_folders(item) for item in value]
    return os.path.basename(value) if isinstance(value, str) else value


def _train_and_score(config: Config) -> tuple[int, float]:
    """Return the number of steps and the last score of a training run."""
    runner = train(config, lock=False)
    scalars = runner.message_hub.log_scalars
    if f'val/{SCORE}' not in scalars:
        raise UserError(f'a selection requires a val_evaluator that computes {SCORE}')
    steps, score = runner.iter, float(scalars[f'val/{SCORE}'].current())
    del runner
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not math.isfinite(score):
        raise ValueError(f'{SCORE} is {score}')
    return steps, score

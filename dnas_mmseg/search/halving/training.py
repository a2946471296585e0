"""Trainings of candidates: their configs, their runs, their scores."""

from __future__ import annotations

import copy
import gc
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.engine.checkpoints import POINTER, last_checkpoint
from dnas_mmseg.engine.configs import leaf_datasets
from dnas_mmseg.engine.running import train
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_text
from dnas_mmseg.search.network_config import network_config
from dnas_mmseg.search.selection import Request
from dnas_mmseg.search.stages import retrain_config
from dnas_mmseg.spaces.architecture import Architecture

from .networks import Baseline, Candidate, baseline_config, from_document, to_document
from .plan import SelectionPlan
from .schedule import shorten
from .split import set_lists

SCORE = 'mIoU'
"""Score by which candidates are compared."""

_RESULT = 'result.json'
_KEY = re.compile(r'\w[\w.-]*-\d+-\d+')
"""Names of trainings: candidate, rung and seed."""

_RESUMED_FROM = 4
"""Checkpoints of a training that a killed one goes on from."""

_CHECKSUMS = 'checksums.json'
_READERS = 8
"""Files that are read at a time for the checksum of the data."""


class CandidateTrainings:
    """Trainings of a selection in a work dir.

    Args:
        plan: Settings of the selection.
        baselines: Baselines of the selection.
        work_dir: Folder of the selection; each training has one in ``trainings``.
        lists: Lists to train on and to score on.
    """

    def __init__(
        self,
        plan: SelectionPlan,
        baselines: list[Baseline],
        work_dir: Path,
        lists: tuple[Path, Path],
    ) -> None:
        self.plan, self.baselines = plan, baselines
        self.folder, self.lists = work_dir / 'trainings', lists

    def folder_of(self, key: str) -> Path:
        """Return the folder of a training.

        Raises:
            ValueError: The key is none that a selection gives; others can write to its queue.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f'{key!r} is no name of a training')
        return self.folder / key

    def content(self, request: Request, epochs: int) -> dict[str, Any]:
        """Return a training as JSON, for the queue."""
        seed = self.plan.network.seed + request.seed
        return {**to_document(request.candidate), 'epochs': epochs, 'seed': seed}

    def full_config(self, candidate: Candidate) -> Config:
        """Return the config of a candidate with its full schedule, on all tiles."""
        if isinstance(candidate, Architecture):
            return retrain_config(self.plan.network, candidate.to_document())
        return baseline_config(candidate, network_config(self.plan.network))

    def config(self, key: str, content: Mapping[str, Any]) -> Config:
        """Return the config of a training.

        Args:
            key: Name of the training.
            content: The training, as :meth:`content` made it.
        """
        config = self.full_config(from_document(dict(content), self.baselines))
        set_lists(config, *(path.resolve() for path in self.lists))
        shorten(config, content['epochs'])
        folder = self.folder_of(key)
        config.work_dir = config.visualizer.name = str(folder)
        config.experiment_name = f'{key}_{time.time_ns()}'  # mmengine's singletons go by it
        config.randomness = {**config.get('randomness', {}), 'seed': content['seed']}
        config.default_hooks.checkpoint = dict(
            type='AtomicCheckpointHook',
            interval=max(1, content['epochs'] // _RESUMED_FROM),
            max_keep_ckpts=1,
        )
        config.load_from = None
        config.resume = last_checkpoint(folder) is not None
        for name in ('test_dataloader', 'test_cfg', 'test_evaluator'):
            config[name] = None
        return config

    def run(self, key: str, content: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """Train, or go on with a training that was cut off.

        Returns:
            The score at the end of the schedule, in percent, and facts on the training.

        Raises:
            FolderInUseError: Another process is at this training.
            Exception: The training failed; a score that is no number is a failure.
        """
        folder = self.folder_of(key)
        # Another worker may be at it, which was taken for dead: its result counts, and its
        # checkpoints are its own as long as it has the lock.
        with lock_folder(folder):
            if not (folder / _RESULT).is_file():
                began, config = time.monotonic(), self.config(key, content)
                score = _trained_score(config)
                facts = {
                    'seconds': round(time.monotonic() - began, 1),
                    'resumed': config.resume,
                    'epochs': content['epochs'],
                    'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
                }
                write_text(folder / _RESULT, json.dumps({'score': score, 'facts': facts}) + '\n')
            for checkpoint in folder.glob('*.pth'):
                checkpoint.unlink()
        result = json.loads((folder / _RESULT).read_text(encoding='utf-8'))
        return result['score'], result['facts']

    def discard(self, key: str) -> None:
        """Remove what a failed training has left, its log aside."""
        if not _KEY.fullmatch(key):
            return
        folder = self.folder_of(key)
        for checkpoint in folder.glob('*.pth'):
            checkpoint.unlink()
        (folder / POINTER).unlink(missing_ok=True)


def data_checksum(config: Config, lists: tuple[Path, Path], folder: Path) -> str:
    """Return a checksum of the tiles of a selection: names and content of all of them.

    Args:
        config: Config of a network on the user's data.
        lists: Lists to train on and to score on.
        folder: Folder of a file with the checksums of files by size and time, so that each is read
            once.
    """
    config = Config(copy.deepcopy(config.to_dict()))
    set_lists(config, *lists)
    loaders = (config.train_dataloader, config.val_dataloader)
    pairs = [pair for x in loaders for pair in DATASETS.build(next(leaf_datasets(x))).pairs]
    files = [name for pair in pairs for name in pair if name is not None and os.path.isfile(name)]
    known = _known_checksums(folder / _CHECKSUMS)

    def checksum(name: str) -> tuple[str, list]:
        stat = os.stat(name)
        state = [stat.st_size, stat.st_mtime_ns]
        key = os.path.relpath(name, folder)
        if known.get(key, [])[:2] == state:
            return key, known[key]
        content = Path(name).read_bytes()
        return key, [*state, hashlib.blake2b(content, digest_size=16).hexdigest()]

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(checksum, files))
    write_text(folder / _CHECKSUMS, json.dumps(dict(found)) + '\n')
    digest = hashlib.sha256()
    for key, (*_, content) in found:
        digest.update(f'{os.path.basename(key)} {content}\n'.encode())
    return digest.hexdigest()


def _known_checksums(path: Path) -> dict[str, list]:
    try:
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}


def config_checksum(trainings: CandidateTrainings) -> str:
    """Return a checksum of what decides a training, apart from where the data lie."""
    configs = [network_config(trainings.plan.network)]
    configs += [trainings.full_config(baseline) for baseline in trainings.baselines]
    documents = [_without_places(config.to_dict()) for config in configs]
    text = json.dumps(documents, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_places(value: Any) -> Any:
    """Return a config without the folders in it, which differ from machine to machine."""
    if isinstance(value, Mapping):
        return {
            k: _without_places(v) for k, v in value.items() if k not in ('data_root', 'work_dir')
        }
    if isinstance(value, (list, tuple)):
        return [_without_places(item) for item in value]
    return os.path.basename(value) if isinstance(value, str) else value


def _trained_score(config: Config) -> float:
    runner = train(config, lock=False)
    scalars = runner.message_hub.log_scalars
    if f'val/{SCORE}' not in scalars:
        raise UserError(f'the val_evaluator gives no {SCORE}, by which candidates are compared')
    score = float(scalars[f'val/{SCORE}'].current())
    del runner
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not math.isfinite(score):
        raise ValueError(f'{SCORE} is {score}')
    return score

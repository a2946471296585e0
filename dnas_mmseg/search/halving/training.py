"""Training runs of candidates."""

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

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.checkpoints import POINTER, last_checkpoint
from dnas_mmseg.engine.length import scale_schedule
from dnas_mmseg.engine.running import train
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_json
from dnas_mmseg.search.network_config import network_config
from dnas_mmseg.search.selection import Request
from dnas_mmseg.search.stages import retrain_config
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.work_dir import RESULT_FILE

from .networks import Baseline, Candidate, baseline_config, from_document, to_document
from .plan import SelectionPlan
from .split import set_lists

SCORE = 'mIoU'
"""Metric that ranks candidates."""

_KEY = re.compile(r'\w[\w.-]*-\d+-\d+')
"""Keys of trainings: candidate name, rung and seed."""

_CHECKPOINTS = 4
"""Number of checkpoints per training. A killed training repeats at most a quarter of its epochs;
more checkpoints cost more writing."""

_CHECKSUMS = 'checksums.json'
_READERS = 8
"""Number of files read in parallel for the checksum of the data, to hide the latency of network
file systems."""


class CandidateTrainings:
    """Training runs of a selection in a work dir.

    Args:
        plan: Settings of the selection.
        baselines: Baselines of the selection.
        work_dir: Work dir of the selection; each training has a folder in ``trainings``.
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
            ValueError: The key is invalid. Keys come from the queue, which others may write to.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f'{key!r} is not the key of a training')
        return self.folder / key

    def content(self, request: Request, epochs: int) -> dict[str, Any]:
        """Return the description of a training, a JSON object for the queue."""
        seed = self.plan.network.seed + request.seed
        return {**to_document(request.candidate), 'epochs': epochs, 'seed': seed}

    def full_config(self, candidate: Candidate) -> Config:
        """Return the config of a candidate with the full schedule on the whole training list."""
        if isinstance(candidate, Architecture):
            return retrain_config(self.plan.network, candidate.to_document())
        return baseline_config(candidate, network_config(self.plan.network))

    def config(self, key: str, content: Mapping[str, Any]) -> Config:
        """Return the config of a training.

        Args:
            key: Key of the training.
            content: Description of the training by :meth:`content`.
        """
        config = self.full_config(from_document(dict(content), self.baselines))
        set_lists(config, *(path.resolve() for path in self.lists))
        scale_schedule(config, content['epochs'])
        folder = self.folder_of(key)
        config.work_dir = config.visualizer.name = str(folder)
        config.experiment_name = f'{key}_{time.time_ns()}'  # names mmengine's global instances
        config.randomness = {**config.get('randomness', {}), 'seed': content['seed']}
        config.default_hooks.checkpoint = dict(
            type='AtomicCheckpointHook',
            interval=max(1, content['epochs'] // _CHECKPOINTS),
            max_keep_ckpts=1,
        )
        config.load_from = None
        config.resume = last_checkpoint(folder) is not None
        for name in ('test_dataloader', 'test_cfg', 'test_evaluator'):
            config[name] = None
        return config

    def run(self, key: str, content: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """Train, or resume an interrupted training; a finished one is not repeated.

        Returns:
            The final score, in percent, and metadata of the training.

        Raises:
            FolderInUseError: Another process runs this training.
            Exception: The training failed, or its score is not finite.
        """
        folder = self.folder_of(key)
        # A worker that was considered dead may still run it; only the lock owner may write.
        with lock_folder(folder):
            if not (folder / RESULT_FILE).is_file():
                began, config = time.monotonic(), self.config(key, content)
                score = _train_and_score(config)
                metadata = {
                    'seconds': round(time.monotonic() - began, 1),
                    'resumed': config.resume,
                    'epochs': content['epochs'],
                    'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
                }
                write_json(folder / RESULT_FILE, {'score': score, 'facts': metadata}, indent=None)
            for checkpoint in folder.glob('*.pth'):
                checkpoint.unlink()
        result = json.loads((folder / RESULT_FILE).read_text(encoding='utf-8'))
        return result['score'], result['facts']

    def discard(self, key: str) -> None:
        """Remove the checkpoints of a failed training; its log remains."""
        if not _KEY.fullmatch(key):
            return
        folder = self.folder_of(key)
        for checkpoint in folder.glob('*.pth'):
            checkpoint.unlink()
        (folder / POINTER).unlink(missing_ok=True)


def data_checksum(config: Config, lists: tuple[Path, Path], folder: Path) -> str:
    """Return a checksum of the names and contents of all tiles of a selection.

    Args:
        config: Config of a network on the user's data.
        lists: Lists to train on and to score on.
        folder: Folder of a cache of file checksums, with size and modification time as key.
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
    write_json(folder / _CHECKSUMS, dict(found), indent=None)
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
    """Return a checksum of the configs of networks and baselines, independent of data paths."""
    configs = [network_config(trainings.plan.network)]
    configs += [trainings.full_config(baseline) for baseline in trainings.baselines]
    documents = [_without_folders(config.to_dict()) for config in configs]
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


def _train_and_score(config: Config) -> float:
    runner = train(config, lock=False)
    scalars = runner.message_hub.log_scalars
    if f'val/{SCORE}' not in scalars:
        raise UserError(f'a selection requires a val_evaluator that computes {SCORE}')
    score = float(scalars[f'val/{SCORE}'].current())
    del runner
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not math.isfinite(score):
        raise ValueError(f'{SCORE} is {score}')
    return score

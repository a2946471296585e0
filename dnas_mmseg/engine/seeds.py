"""Training of a config with several seeds, and the standard deviation of its scores."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from rich.table import Table

from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import least_significant_difference
from dnas_mmseg.files import lock_folder, write_csv, write_text
from dnas_mmseg.work_dir import SEED_SCORES, TEST_SCORES

from .checkpoints import find_checkpoint, last_checkpoint
from .running import test, train

_SCORES = Path('test') / TEST_SCORES


@dataclass(frozen=True)
class SeedScores:
    """Test scores of one network trained with several seeds.

    Attributes:
        scores: Test scores by seed and name, in percent; None for a class that does not occur.

    Example:
        >>> scores = SeedScores({0: {'mIoU': 70.0}, 1: {'mIoU': 72.0}, 2: {'mIoU': 71.0}})
        >>> scores.mean('mIoU'), scores.std('mIoU')
        (71.0, 1.0)
    """

    scores: Mapping[int, Mapping[str, float | None]]

    @property
    def names(self) -> list[str]:
        """Names of the scores that are available for all seeds."""
        first, *others = self.scores.values()
        return [name for name in first if all(s.get(name) is not None for s in (first, *others))]

    def values(self, name: str) -> np.ndarray:
        """Return a score of all seeds, float (seeds,)."""
        return np.array([scores[name] for scores in self.scores.values()], float)

    def mean(self, name: str) -> float:
        """Return the mean of a score over seeds."""
        return float(self.values(name).mean())

    def std(self, name: str) -> float:
        """Return the sample standard deviation of a score over seeds; NaN for one seed."""
        values = self.values(name)
        return float(values.std(ddof=1)) if len(values) > 1 else float('nan')

    def table(self) -> Table:
        """Return the scores as a table with a row per score and a column per seed."""
        table = Table()
        table.add_column('')
        for heading in (*(f'seed {seed}' for seed in self.scores), 'mean', 'std'):
            table.add_column(heading, justify='right')
        for name in self.names:
            numbers = (*self.values(name), self.mean(name), self.std(name))
            table.add_row(name, *(f'{number:.2f}' for number in numbers))
        return table

    def summary(self, name: str = 'mIoU') -> str:
        """Return the mean, standard deviation and least significant difference as a sentence."""
        seeds = len(self.scores)
        if seeds < 2:
            return 'the standard deviation over seeds is unknown: train at least two seeds'
        least = least_significant_difference(self.std(name), seeds - 1, seeds)
        return (
            f'{name} {self.mean(name):.2f} +- {self.std(name):.2f} over {seeds} seeds; least '
            f'significant difference to a network with as many seeds and equal variance (95 %): '
            f'{least:.1f}'
        )

    def rows(self) -> list[list]:
        """Return the scores as rows of a table: headings, then a row per seed."""
        lines = [[seed, *(s[name] for name in self.names)] for seed, s in self.scores.items()]
        return [['seed', *self.names], *lines]


def find_result_checkpoint(config: Config) -> str:
    """Return the checkpoint to test after a finished training run.

    It is the last checkpoint if the config averages weights (``EMAHook``), otherwise the best one
    by validation score, or the last one without validation.

    Args:
        config: Config of the training run, with its ``work_dir``.
    """
    folder = Path(config.work_dir)
    averaged = any(hook['type'] == 'EMAHook' for hook in config.get('custom_hooks') or [])
    best = [] if averaged else sorted(folder.glob('best_*.pth'), key=os.path.getmtime)
    return str(best[-1] if best else find_checkpoint(folder))


def train_seeds(config: Config, seeds: int, resume: bool = False) -> SeedScores:
    """Train and test a config with several seeds, one after the other.

    Training runs are written to ``seed_<n>`` of the work dir, tests to ``seed_<n>/test``, and all
    scores to ``scores.csv``. The first seed is ``randomness.seed`` of the config, default 0.

    Args:
        config: Config to train.
        seeds: Number of seeds.
        resume: Whether to resume the training runs in the work dir. Tested seeds are skipped; the
            others resume from their last checkpoint.

    Raises:
        UserError: The work dir contains training runs and ``resume`` is False, or they belong to
            another config; the config has no test set, or is invalid.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> config.work_dir = 'work_dirs/mine'  # doctest: +SKIP
        >>> print(train_seeds(config, 4).summary())  # doctest: +SKIP
    """
    if not config.get('test_dataloader'):
        raise UserError(
            'training several seeds requires a test set: the config has no test_dataloader'
        )
    work_dir = Path(config.work_dir)
    first = (config.get('randomness') or {}).get('seed') or 0
    numbers = range(first, first + seeds)
    with lock_folder(work_dir) if is_main_process() else nullcontext():
        _check_folder(work_dir, config, resume)
        barrier()
        for number in numbers:
            folder = work_dir / f'seed_{number}'
            if (folder / _SCORES).is_file():
                continue
            trained = _seed_config(config, number, folder)
            trained.resume = last_checkpoint(folder) is not None
            train(trained)
            barrier()  # the main process may not have written the best checkpoint yet
            test(_seed_config(config, number, folder / 'test'), find_result_checkpoint(trained))
            barrier()
        result = SeedScores(
            {
                n: json.loads((work_dir / f'seed_{n}' / _SCORES).read_text(encoding='utf-8'))
                for n in numbers
            }
        )
        if is_main_process():
            write_csv(work_dir / SEED_SCORES, result.rows())
    return result


def _seed_config(config: Config, seed: int, folder: Path) -> Config:
    config = copy.deepcopy(config)
    config.work_dir = config.visualizer.name = str(folder)
    config.experiment_name = folder.name  # mmengine's singletons use it and the time in seconds
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return config


def _check_folder(work_dir: Path, config: Config, resume: bool) -> None:
    """Reject training runs of another config, or existing ones without ``resume``."""
    path = work_dir / 'config.py'
    before = path.read_text(encoding='utf-8') if path.is_file() else None
    portable = copy.deepcopy(config)
    portable.pop('work_dir')  # the folder may be moved
    text = portable.pretty_text
    if before is not None and not resume:
        raise UserError(
            f'{work_dir} already contains training runs: --resume continues them, another '
            '--work-dir starts from scratch'
        )
    if before not in (None, text):
        raise UserError(
            f'{work_dir} contains training runs of another config ({path}): undo the changes of '
            'the config, or choose another --work-dir'
        )
    barrier()
    if is_main_process() and before is None:
        write_text(path, text)

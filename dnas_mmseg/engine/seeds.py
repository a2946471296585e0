"""Training of one config with several seeds, and the part of chance in its scores."""

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

from .checkpoints import find_checkpoint, last_checkpoint
from .running import test, train

_SCORES = Path('test') / 'test_scores.json'


@dataclass(frozen=True)
class SeedScores:
    """Test scores of several trainings of one network.

    Attributes:
        scores: Scores of each seed's test by name, in percent; None where a class does not occur.
    """

    scores: Mapping[int, Mapping[str, float | None]]

    @property
    def names(self) -> list[str]:
        """Names of the scores that all trainings have."""
        first, *others = self.scores.values()
        return [name for name in first if all(s.get(name) is not None for s in (first, *others))]

    def values(self, name: str) -> np.ndarray:
        """Return a score of all trainings, (seeds,)."""
        return np.array([scores[name] for scores in self.scores.values()], float)

    def mean(self, name: str) -> float:
        """Return the mean of a score over seeds."""
        return float(self.values(name).mean())

    def deviation(self, name: str) -> float:
        """Return the standard deviation of a score over seeds; NaN for one seed."""
        values = self.values(name)
        return float(values.std(ddof=1)) if len(values) > 1 else float('nan')

    def table(self) -> Table:
        """Return the scores as a table with a row per score and a column per seed."""
        table = Table()
        table.add_column('')
        for heading in (*(f'seed {seed}' for seed in self.scores), 'mean', 'deviation'):
            table.add_column(heading, justify='right')
        for name in self.names:
            numbers = (*self.values(name), self.mean(name), self.deviation(name))
            table.add_row(name, *(f'{number:.2f}' for number in numbers))
        return table

    def summary(self, name: str = 'mIoU') -> str:
        """Return a sentence on the difference from which another network's mean is significant."""
        seeds = len(self.scores)
        if seeds < 2:
            return 'one seed says nothing about chance: train at least two'
        least = least_significant_difference(self.deviation(name), seeds - 1, seeds)
        return (
            f'{name} {self.mean(name):.2f}, deviation over {seeds} seeds '
            f'{self.deviation(name):.2f}: a network trained as often differs (95 %) from '
            f'{least:.1f} on, if its seeds scatter alike'
        )

    def rows(self) -> list[list]:
        """Return the scores as rows of a table: headings, then a row per training."""
        lines = [[seed, *(s[name] for name in self.names)] for seed, s in self.scores.items()]
        return [['seed', *self.names], *lines]


def find_result_checkpoint(config: Config) -> str:
    """Return the checkpoint that is the result of a finished training.

    That is the last one where the config averages weights (``EMAHook``), since then nothing needs
    to be chosen; else the best by validation; else the last.

    Args:
        config: Config that was trained, with its ``work_dir``.
    """
    folder = Path(config.work_dir)
    averaged = any(hook['type'] == 'EMAHook' for hook in config.get('custom_hooks') or [])
    best = [] if averaged else sorted(folder.glob('best_*.pth'), key=os.path.getmtime)
    return str(best[-1] if best else find_checkpoint(folder))


def train_seeds(config: Config, seeds: int, resume: bool = False) -> SeedScores:
    """Train and test a config with several seeds, one after the other.

    The trainings are in ``seed_<n>`` of the work dir, the tests in ``seed_<n>/test``, and all
    scores in ``scores.csv``. The first seed is the config's ``randomness.seed``, 0 by default.

    Args:
        config: Config to train.
        seeds: Number of trainings.
        resume: Whether to go on with the trainings in the work dir. Those that are tested are
            kept as they are; the others go on from their last checkpoint.

    Raises:
        UserError: The work dir holds trainings already and they are not to be resumed, or they are
            of another config; the config has no test; or it cannot work.
    """
    if not config.get('test_dataloader'):
        raise UserError('several seeds are compared by their tests: the config has none')
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
            barrier()  # the main process may still be writing the best checkpoint
            test(_seed_config(config, number, folder / 'test'), find_result_checkpoint(trained))
            barrier()
        result = SeedScores(
            {
                n: json.loads((work_dir / f'seed_{n}' / _SCORES).read_text(encoding='utf-8'))
                for n in numbers
            }
        )
        if is_main_process():
            write_csv(work_dir / 'scores.csv', result.rows())
    return result


def _seed_config(config: Config, seed: int, folder: Path) -> Config:
    config = copy.deepcopy(config)
    config.work_dir = config.visualizer.name = str(folder)
    config.experiment_name = folder.name  # mmengine's singletons go by it and the second
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return config


def _check_folder(work_dir: Path, config: Config, resume: bool) -> None:
    """Refuse a folder with trainings of another config, or with some that would be overwritten."""
    path = work_dir / 'config.py'
    before = path.read_text(encoding='utf-8') if path.is_file() else None
    without_place = copy.deepcopy(config)
    without_place.pop('work_dir')  # the folder may be moved
    text = without_place.pretty_text
    if before is not None and not resume:
        raise UserError(
            f'{work_dir} holds trainings with seeds already: --resume goes on with them, and '
            'another --work-dir starts from scratch'
        )
    if before not in (None, text):
        raise UserError(
            f'the trainings in {work_dir} are of another config ({path}): change this one back, or '
            'choose another --work-dir'
        )
    barrier()
    if is_main_process() and before is None:
        write_text(path, text)

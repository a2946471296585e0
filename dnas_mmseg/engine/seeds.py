"""Training of a config with several seeds or on several folds, and the spread of its scores."""

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

from dnas_mmseg.datasets.configs import all_leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import least_significant_difference
from dnas_mmseg.files import lock_folder, write_csv, write_text
from dnas_mmseg.work_dir import SEED_SCORES, TEST_SCORES

from .checkpoints import find_checkpoint, find_usable_checkpoint
from .config_parts import set_work_dir, type_name
from .running import test, train, weight_classes

_SCORES = Path('test') / TEST_SCORES
_CONFIG = 'config.py'
"""File in a work dir with the config of all runs."""


@dataclass(frozen=True)
class SeedScores:
    """Test scores of one network trained with several seeds, or on several folds.

    Attributes:
        scores: Test scores by seed or fold, and by name, in percent; None for a class that does not
            occur.
        kind: What the runs differ in, ``'seed'`` or ``'fold'``.

    Example:
        >>> scores = SeedScores({0: {'mIoU': 70.0}, 1: {'mIoU': 72.0}, 2: {'mIoU': 71.0}})
        >>> scores.mean('mIoU'), scores.std('mIoU')
        (71.0, 1.0)
    """

    scores: Mapping[int, Mapping[str, float | None]]
    kind: str = 'seed'

    @property
    def names(self) -> list[str]:
        """Names of the scores that are available for all runs."""
        first, *others = self.scores.values()
        return [name for name in first if all(s.get(name) is not None for s in (first, *others))]

    def values(self, name: str) -> np.ndarray:
        """Return a score of all runs, float (runs,)."""
        return np.array([scores[name] for scores in self.scores.values()], float)

    def mean(self, name: str) -> float:
        """Return the mean of a score over the runs."""
        return float(self.values(name).mean())

    def std(self, name: str) -> float:
        """Return the sample standard deviation of a score over the runs; NaN for one run."""
        values = self.values(name)
        return float(values.std(ddof=1)) if len(values) > 1 else float('nan')

    def table(self) -> Table:
        """Return the scores as a table with a row per score and a column per run."""
        table = Table()
        table.add_column('')
        for heading in (*(f'{self.kind} {number}' for number in self.scores), 'mean', 'std'):
            table.add_column(heading, justify='right')
        for name in self.names:
            numbers = (*self.values(name), self.mean(name), self.std(name))
            table.add_row(name, *(f'{number:.2f}' for number in numbers))
        return table

    def summary(self, name: str = 'mIoU') -> str:
        """Return the mean and standard deviation as a sentence.

        With seeds, also the least significant difference to another network. Folds have different
        test tiles, so their deviation is not that of the training.
        """
        seeds = len(self.scores)
        if self.kind == 'fold':
            return f'{name} {self.mean(name):.2f} +- {self.std(name):.2f} over {seeds} folds'
        if seeds < 2:
            return 'the standard deviation over seeds is unknown: train at least two seeds'
        least = least_significant_difference(self.std(name), seeds - 1, seeds)
        return (
            f'{name} {self.mean(name):.2f} +- {self.std(name):.2f} over {seeds} seeds; least '
            f'significant difference to a network with as many seeds and equal variance (95 %): '
            f'{least:.1f}'
        )

    def rows(self) -> list[list]:
        """Return the scores as rows of a table: headings, then a row per run."""
        lines = [[seed, *(s[name] for name in self.names)] for seed, s in self.scores.items()]
        return [[self.kind, *self.names], *lines]


def find_result_checkpoint(config: Config) -> str:
    """Return the checkpoint to test after a finished training run.

    It is the last checkpoint if the config averages weights (``EMAHook``), otherwise the best one
    by validation score, or the last one without validation.

    Args:
        config: Config of the training run, with its ``work_dir``.
    """
    folder = Path(config.work_dir)
    averaged = any(type_name(hook) == 'EMAHook' for hook in config.get('custom_hooks') or [])
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
    first = (config.get('randomness') or {}).get('seed') or 0
    runs = {number: copy.deepcopy(config) for number in range(first, first + seeds)}
    for number, run in runs.items():
        run.randomness = {**(config.get('randomness') or {}), 'seed': number}
    return _train_runs(config, runs, 'seed', resume)


def train_folds(config: Config, resume: bool = False, weighted: bool = False) -> SeedScores:
    """Train and test a config on each fold of ``dnas split --folds``, one after the other.

    Training runs are written to ``fold_<n>`` of the work dir, tests to ``fold_<n>/test``, and all
    scores to ``scores.csv``.

    Args:
        config: Config to train, whose data roots contain the folders ``fold1``, ``fold2``, ... with
            the lists that the config names.
        resume: Whether to resume the training runs in the work dir, see :func:`train_seeds`.
        weighted: Whether to weight the classes by the training tiles of each fold
            (:func:`dnas_mmseg.engine.running.weight_classes`).

    Raises:
        UserError: A data root has no folds, or see :func:`train_seeds`.
    """
    if not config.get('test_dataloader'):
        raise UserError('training on folds requires a test set: the config has no test_dataloader')
    runs: dict[int, Config] = {}
    while not (missing := _missing_lists(run := fold_config(config, len(runs) + 1))):
        runs[len(runs) + 1] = run
    if len(runs) < 2:
        raise _no_fold(missing[0])
    plain = copy.deepcopy(config)
    for leaf in all_leaf_datasets(plain):
        leaf['ann_file'] = Path(leaf.get('ann_file') or '').name  # that of any fold
    if weighted:
        plain.class_weights = 'of each fold'  # runs are resumed with the same option only
        for number, run in runs.items():
            print(f'class weights of fold {number}:', weight_classes(run, count=True))
    return _train_runs(plain, runs, 'fold', resume)


def fold_config(config: Config, number: int) -> Config:
    """Return a config whose lists are those of a fold.

    Args:
        config: A config, or one of another fold.
        number: Number of the fold, from 1.
    """
    run = copy.deepcopy(config)
    for leaf in all_leaf_datasets(run):
        leaf['ann_file'] = f'fold{number}/{Path(leaf.get("ann_file") or "").name}'
    return run


def first_fold(config: Config) -> Config:
    """Return the config of the first fold, to measure what all folds have in common.

    Raises:
        UserError: There are no folds.
    """
    run = fold_config(config, 1)
    if missing := _missing_lists(run):
        raise _no_fold(missing[0])
    return run


def _missing_lists(config: Config) -> list[Path]:
    paths = [
        Path(leaf.get('data_root') or '.', leaf['ann_file']) for leaf in all_leaf_datasets(config)
    ]
    return [path for path in paths if not path.is_file()]


def _no_fold(path: Path) -> UserError:
    return UserError(f'{path}: no such list; write the folds by `dnas split ROOT --folds 5`')


def _train_runs(config: Config, runs: Mapping[int, Config], kind: str, resume: bool) -> SeedScores:
    """Train and test configs one after the other, in ``<kind>_<n>`` of the work dir."""
    work_dir = Path(config.work_dir)
    with lock_folder(work_dir) if is_main_process() else nullcontext():
        _check_folder(work_dir, config, resume)
        barrier()
        for number, run in runs.items():
            folder = work_dir / f'{kind}_{number}'
            if (folder / _SCORES).is_file():
                continue
            trained = _move(run, folder)
            trained.resume = find_usable_checkpoint(folder)[0] is not None
            if trained.resume:
                trained.load_from = None  # the weights that it started from
            train(trained)
            barrier()  # the main process may not have written the best checkpoint yet
            test(_move(run, folder / 'test'), find_result_checkpoint(trained))
            barrier()
        scores = {
            n: json.loads((work_dir / f'{kind}_{n}' / _SCORES).read_text(encoding='utf-8'))
            for n in runs
        }
        result = SeedScores(scores, kind)
        if is_main_process():
            write_csv(work_dir / SEED_SCORES, result.rows())
    return result


def _move(config: Config, folder: Path) -> Config:
    """Return a copy of a config with another work dir."""
    config = copy.deepcopy(config)
    set_work_dir(config, folder)
    return config


def has_runs(work_dir: str | os.PathLike) -> bool:
    """Return whether a folder has training runs over seeds or folds."""
    return (Path(work_dir) / _CONFIG).is_file()


def check_new_runs(work_dir: str | os.PathLike) -> None:
    """Require a work dir without training runs of several seeds or folds.

    Raises:
        UserError: It contains some.
    """
    if has_runs(work_dir):
        raise UserError(
            f'{work_dir} already contains training runs: --resume continues them, another '
            '--work-dir starts from scratch'
        )


def _check_folder(work_dir: Path, config: Config, resume: bool) -> None:
    """Reject training runs of another config, or existing ones without ``resume``."""
    path = work_dir / _CONFIG
    before = path.read_text(encoding='utf-8') if path.is_file() else None
    portable = copy.deepcopy(config)
    portable.pop('work_dir')  # the folder may be moved
    text = portable.pretty_text
    if not resume:
        check_new_runs(work_dir)
    if before not in (None, text):
        raise UserError(
            f'{work_dir} contains training runs of another config ({path}): undo the changes of '
            'the config, or choose another --work-dir'
        )
    barrier()
    if is_main_process() and before is None:
        write_text(path, text)

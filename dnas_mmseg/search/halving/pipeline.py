"""Pipeline of a selection: from tiles to a trained network.

Files of a work dir:

    search.json              settings; --resume reads them
    network.py               copy of the user's config; retrain.py inherits it
    train.txt, scored.txt    parts of the training list to train and to score candidates on
    trials.log               queue of trainings, unless --storage is set
    trainings/<key>/         log and result of each training on this machine
    workers/                 logs of the worker processes
    gradient/                gradient search, with --candidates gradient
    leaderboard.csv, .json   all candidates with their costs and scores, the best first
    pace.json                training time per tile, which determines the epochs of each candidate
    report.html              report with figures, updated while the selection runs
    architecture.json        the winner; retrain.py trains it
    final/                   training of the winner on the whole training list, and its test
"""

from __future__ import annotations

import copy
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.checkpoints import last_checkpoint
from dnas_mmseg.engine.configs import format_inheriting_config
from dnas_mmseg.engine.length import full_epochs, scale_schedule
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline
from dnas_mmseg.files import lock_folder, write_json, write_text
from dnas_mmseg.search.pipeline import WRITTEN_HERE, movable_text, search
from dnas_mmseg.search.selection import Candidates, Request, Selection, run_steps, selection_steps
from dnas_mmseg.search.selection.study import StorageError, TrainingQueue, public_name
from dnas_mmseg.search.time import duration
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.work_dir import (
    ARCHITECTURE_FILE,
    FINAL_FOLDER,
    NETWORK_FILE,
    PACE_FILE,
    PLAN_FILE,
    RETRAIN_FILE,
    TEST_SCORES,
)

from .networks import Candidate, SpaceCandidates
from .pacing import measure_pace
from .plan import GRADIENT, MIN_BUDGET, OF_THE_MACHINE, SelectionPlan
from .progress import Progress, planned_seconds, show_plan
from .result import Leaderboard, save_results
from .schedule import Pace
from .split import check_leakage, selection_lists, set_lists
from .training import SCORE, CandidateTrainings, config_checksum, data_checksum
from .worker import Workers

_POLL_INTERVAL = 1.0
"""Time between two requests to the queue, in seconds. Less burdens the storage, more delays the
next batch."""

_JOURNAL = 'trials.log'


def select_network(
    plan: SelectionPlan,
    work_dir: str | os.PathLike,
    *,
    storage: str | None = None,
    workers: int = 1,
    resume: bool = False,
    join: bool = False,
    dry_run: bool = False,
    retry_failed: bool = False,
    pace: str | os.PathLike | None = None,
) -> Candidate | None:
    """Select the best network for a training set by training runs, and train it.

    Args:
        plan: Settings of the selection.
        work_dir: Folder of all results.
        storage: Storage of the queue: path of a journal file, or SQLAlchemy URL of a database.
            Defaults to a journal file in the work dir.
        workers: Number of parallel trainings on this machine.
        resume: Whether to resume the selection in ``work_dir``.
        join: Whether to run trainings of a selection that another command started; ``work_dir``
            must not be that of the other command.
        dry_run: Whether only to print the trainings and their estimated time.
        retry_failed: Whether to retry failed trainings. If all have failed, they are retried in any
            case.
        pace: ``pace.json`` of another selection, instead of a measurement. Selections with the same
            plan, seed and pace are equal on CPUs.

    Returns:
        The winner; None after a dry run or with ``join``.

    Raises:
        UserError: The work dir is in use or contains another search, the plan is invalid, or the
            storage cannot be used.

    Example:
        >>> plan = SelectionPlan(network=SearchPlan('dnas', layers=8), budget=12)  # doctest: +SKIP
        >>> select_network(plan, 'work_dirs/select', workers=2).name  # doctest: +SKIP
    """
    if workers < 1:
        raise UserError(f'workers = {workers}: expected at least 1')
    if join and storage is None:
        raise UserError('--join requires the --storage of the selection')
    run = _SelectionRun(
        plan, Path(work_dir), storage, workers, None if pace is None else Pace.load(pace)
    )
    with lock_folder(work_dir):
        if not (dry_run or join):
            return run.run(resume, retry_failed)
        if dry_run:
            run.dry_run()
        else:
            run.join()
    return None


def estimate_budget(
    plan: SelectionPlan, work_dir: str | os.PathLike, hours: float, workers: int
) -> float:
    """Estimate the budget that fits into a time on this machine, from timed training steps.

    Args:
        plan: Settings of the selection, with any budget.
        work_dir: Work dir of the selection.
        hours: Time of the selection, including the final training of the winner, in hours.
        workers: Number of parallel trainings.

    Returns:
        Budget in full trainings.

    Raises:
        UserError: The time is too short for a selection.
    """
    run = _SelectionRun(plan, Path(work_dir), None, workers)
    with lock_folder(work_dir):
        seconds = run.seconds_of_full_training()
    budget = math.floor(workers * (hours * 3600 / seconds - 1))
    if budget < MIN_BUDGET:
        raise UserError(
            f'{hours:g} hours: a full training takes about {duration(seconds)}, and a selection '
            f'requires at least {MIN_BUDGET:g} and one of the winner; increase --hours, or shorten '
            'the schedule (--cfg-options train_cfg.max_epochs=...)'
        )
    return float(budget)


def load_shared_plan(storage: str) -> SelectionPlan:
    """Return the plan of a selection in a storage, without settings that could run or read files.

    Others may write to a storage. Config, options, lists and baselines are therefore not taken from
    it. The joining command must set them, and they are compared with those of the selection.

    Raises:
        StorageError: The storage contains no selection.
    """
    text = TrainingQueue(storage, {}, join=True).get_metadata('plan')
    if text is None:
        raise StorageError(f'{public_name(storage)}: its selection has not started; join it later')
    plan = SelectionPlan.parse(text, public_name(storage), '.')
    return replace(plan, network=replace(plan.network, **OF_THE_MACHINE), baselines=())


class _SelectionRun:
    """Execution of a plan in a work dir."""

    def __init__(
        self,
        plan: SelectionPlan,
        work_dir: Path,
        storage: str | None,
        workers: int,
        pace: Pace | None = None,
    ) -> None:
        init_default_scope('mmseg')
        self.plan, self.work_dir, self.count, self.pace = plan, work_dir, workers, pace
        self.storage, self.storage_option = storage or str(work_dir / _JOURNAL), storage

    def seconds_of_full_training(self) -> float:
        """Estimate the time of a full training of a typical candidate, in seconds."""
        with tempfile.TemporaryDirectory() as folder:
            self._prepare(Path(folder))
            pace = measure_pace(self.candidates, self.trainings)
        return planned_seconds(pace, self._samples, full_epochs(self.candidates.config))

    def dry_run(self) -> None:
        """Print the trainings and their estimated time."""
        with tempfile.TemporaryDirectory() as folder:
            self._prepare(Path(folder))
            pace = self.pace or measure_pace(self.candidates, self.trainings)
        self._show_plan(pace, len(self.plan.candidates))

    def run(self, resume: bool, retry_failed: bool) -> Candidate:
        """Select a network, train it on the whole training list, and test it."""
        self._claim(resume)
        self._prepare()
        identity = self._identity()
        # The queue of a resumed selection must exist: a new one would repeat all trainings.
        resumed = (self.work_dir / PLAN_FILE).is_file()
        queue = TrainingQueue(self.storage, identity, join=resumed)
        self._compare(queue, identity)
        write_text(self.work_dir / PLAN_FILE, self.plan.to_json(self.work_dir))
        text = movable_text(self.candidates.config, self.plan.network.data_root, self.work_dir)
        write_text(self.work_dir / NETWORK_FILE, f'{WRITTEN_HERE}\n{text}')
        if GRADIENT in self.plan.candidates and not self._gradient_result.is_file():
            search(self.plan.gradient(), self.work_dir / 'gradient', resume=resume)
        if queue.get_metadata('given') is None:
            initial = self.candidates.load_initial(self._gradient_result)
            queue.set_metadata('given', [architecture.to_document() for architecture in initial])
        if queue.get_metadata('pace') is None:
            pace = self.pace or measure_pace(self.candidates, self.trainings)
            queue.set_metadata('pace', pace.to_document())
        if queue.get_metadata('pixels') is None:
            queue.set_metadata('pixels', self._pixel_scores())
        write_json(self.work_dir / PACE_FILE, queue.get_metadata('pace'), indent=None)
        outcomes = queue.outcomes().values()
        if retry_failed or (outcomes and all(outcome.score is None for outcome in outcomes)):
            print(f'retrying {len(queue.retry_failed())} failed trainings')
        selection, board = self._select(queue)
        save_results(board, self.work_dir, True, self.storage_option)
        board.finish(self._train_winner(selection, Pace.parse(queue.get_metadata('pace'))))
        save_results(board, self.work_dir, False, self.storage_option)
        return selection.best

    def join(self) -> None:
        """Run trainings of another command's selection until it is complete."""
        queue = TrainingQueue(self.storage, {}, join=True)
        if any(queue.get_metadata(name) is None for name in ('plan', 'given', 'pace')):
            raise StorageError(f'{queue.storage}: its selection has not started; join it later')
        self._require_equal(queue, self._plan_differences(queue))  # before anything is built
        self._prepare()
        self._compare(queue, self._identity())
        _, board = self._select(queue)
        save_results(board, self.work_dir, False, self.storage_option)

    def _prepare(self, folder: Path | None = None) -> None:
        """Build candidates and trainings, and check configs and lists.

        Args:
            folder: Folder of the lists to train and score on; defaults to the work dir.
        """
        self.candidates = SpaceCandidates(self.plan)
        config = self.candidates.config
        seed = self.plan.network.seed
        if self.plan.network.halves is not None:
            train_list, scored = map(Path, self.plan.network.halves)
        else:
            train_list, scored = selection_lists(config, seed, folder or self.work_dir)
        self.lists = train_list, scored
        check_leakage(config, train_list, scored)
        self.trainings = CandidateTrainings(
            self.plan, self.candidates.baselines, self.work_dir, self.lists
        )
        for baseline in self.candidates.baselines:
            full_epochs(self.trainings.full_config(baseline))
        self._samples = len(train_list.read_text(encoding='utf-8').splitlines())

    def _pixel_scores(self) -> dict[str, float]:
        """Return the scores of the per-pixel baselines on the scored part, in percent.

        They are for comparison only: data that they do not support are no reason to stop.
        """
        config = copy.deepcopy(self.candidates.config)
        set_lists(config, *self.lists)
        try:
            training, scored = (
                multi_band_parts(DATASETS.build(config[f'{split}_dataloader'].dataset))
                for split in ('train', 'val')
            )
            return evaluate_pixel_baseline(training, scored, self.plan.network.seed).scores
        except UserError as error:
            print(f'note: no per-pixel baselines in the leaderboard: {error}')
            return {}

    def _identity(self) -> dict[str, str]:
        """Return the metadata that all commands of a queue must share."""
        return {
            'plan': self.plan.to_json(self.work_dir),
            'data': data_checksum(self.candidates.config, self.lists, self.work_dir),
            'config': config_checksum(self.trainings),
            'version': version('dnas_mmseg'),
        }

    def _compare(self, queue: TrainingQueue, identity: Mapping[str, str]) -> None:
        """Require a queue of this plan, data, config and version.

        Raises:
            StorageError: The queue differs; the message lists the differences.
        """
        lines = self._plan_differences(queue)
        lines += [
            f'{name}: the checksums differ'
            for name in ('data', 'config')
            if identity[name] != queue.get_metadata(name)
        ]
        if identity['version'] != queue.get_metadata('version'):
            lines.append(f'version: {queue.get_metadata("version")}, now {identity["version"]}')
        self._require_equal(queue, lines)

    def _plan_differences(self, queue: TrainingQueue) -> list[str]:
        stored = SelectionPlan.parse(queue.get_metadata('plan') or '', queue.storage, self.work_dir)
        return self.plan.differences(stored)

    def _require_equal(self, queue: TrainingQueue, differences: list[str]) -> None:
        if differences:
            raise StorageError(
                f'{queue.storage} contains another selection. Differences:\n'
                + '\n'.join(f'  - {line}' for line in differences)
                + '\nRepeat its --config, --cfg-options, --halves and --baselines'
            )

    def _claim(self, resume: bool) -> None:
        """Check that the work dir is free, or contains the selection to resume.

        Raises:
            UserError: The work dir contains another search, or ``resume`` is not set.
        """
        if not (self.work_dir / PLAN_FILE).is_file():
            return
        before = SelectionPlan.load(self.work_dir)
        if not resume:
            raise UserError(
                f'{self.work_dir} already contains a selection: resume it with --resume, or choose '
                'another work dir'
            )
        differences = self.plan.differences(before)
        if differences:
            raise UserError(
                f'{self.work_dir} contains another selection. Differences:\n'
                + '\n'.join(f'  - {line}' for line in differences)
            )

    @property
    def _gradient_result(self) -> Path:
        """File of the architecture that a gradient search proposes."""
        return self.work_dir / 'gradient' / ARCHITECTURE_FILE

    def _epochs(self, request: Request, pace: Pace) -> int:
        share = self.candidates.fidelities[request.fidelity]
        seconds = pace.baselines.get(request.candidate.name) or pace.seconds(
            self.candidates.cost_by(request.candidate, 'macs')
        )
        return pace.epochs(seconds, full_epochs(self.candidates.config), share)

    def _show_plan(self, pace: Pace, initial: int) -> tuple[list[int], float]:
        """Print the plan.

        Returns:
            Number of trainings of each rung, and the estimated time of a full one, in seconds.
        """
        full, rungs = full_epochs(self.candidates.config), self.candidates.fidelities
        counts = count_trainings(self.plan, rungs, initial)
        seconds = planned_seconds(pace, self._samples, full)
        show_plan(self.plan, rungs, seconds, counts, full, self.count)
        return counts, seconds

    def _select(self, queue: TrainingQueue) -> tuple[Selection, Leaderboard]:
        """Run the algorithm on the outcomes of the queue, with the workers of this command."""
        pace = Pace.parse(queue.get_metadata('pace'))
        initial = [load_architecture(document) for document in queue.get_metadata('given')]
        counts, seconds = self._show_plan(pace, len(initial))
        candidates: Candidates[Any] = self.candidates
        steps = selection_steps(
            candidates,
            self.plan.budget,
            self.plan.network.seed,
            self.plan.limit,
            initial,
            self.candidates.baselines,
            self.plan.strategy,
        )
        pixels = queue.get_metadata('pixels') or {}
        batch, board = next(steps), Leaderboard(self.plan, self.candidates, initial, pixels)
        with Progress(counts, self.candidates.fidelities, seconds, self.count) as progress:
            workers = Workers(self.plan, self.work_dir, self.storage, self.lists, self.count)
            try:
                while True:
                    keys = [_key(request) for request in batch]
                    outcomes = queue.outcomes()
                    changed = progress.update(queue.running(), outcomes)
                    if all(key in outcomes for key in keys):
                        done = [outcomes[key] for key in keys]
                        board.add(zip(batch, done, strict=True))
                        results: list[float | Exception] = [
                            UserError(o.error) if o.score is None else o.score for o in done
                        ]
                        try:
                            batch = steps.send(results)
                        except StopIteration as finished:
                            selection = finished.value
                            break
                        continue
                    queue.request(
                        {
                            key: self.trainings.content(request, self._epochs(request, pace))
                            for key, request in zip(keys, batch, strict=True)
                            if key not in outcomes
                        }
                    )
                    queue.release_lost(workers.ensure_running())
                    if changed:
                        save_results(board, self.work_dir, True, self.storage_option)
                    time.sleep(_POLL_INTERVAL)
            except BaseException as error:
                board.stopped = str(error) or type(error).__name__
                save_results(board, self.work_dir, False, self.storage_option)
                raise
            finally:
                workers.stop()
        board.decide(selection)
        print(' '.join(board.verdict()))
        return selection, board

    def _train_winner(self, selection: Selection, pace: Pace) -> float | None:
        """Write the winner's files, train it on the whole training list, and test it.

        Returns:
            Score on the test tiles, in percent; None without test tiles.
        """
        winner = selection.best
        epochs = self._epochs(Request(winner, len(self.plan.rungs) - 1, 0), pace)
        config = self.trainings.full_config(winner)
        interval = config.train_cfg.get('val_interval', 1)
        scale_schedule(config, epochs)
        config.train_cfg.val_interval = min(interval, epochs)
        path = self.work_dir / RETRAIN_FILE
        if isinstance(winner, Architecture):
            cost = {
                'metric': self.plan.network.cost,
                'predicted': self.candidates.cost(winner),
                'size': [self.plan.network.cost_size] * 2,
            }
            provenance = {'selected_with': 'dnas_mmseg', 'cost': cost, 'score': selection.score}
            found = replace(winner, name=self.work_dir.resolve().name, provenance=provenance)
            found.save(self.work_dir / ARCHITECTURE_FILE)
            config.model.backbone.architecture = '{{ fileDirname }}/architecture.json'
            text = format_inheriting_config(NETWORK_FILE, self.candidates.config, config)
        else:
            text = config.pretty_text
        write_text(path, f'{WRITTEN_HERE}\n{text}')
        final = self.work_dir / FINAL_FOLDER
        scores = final / 'test' / TEST_SCORES
        if not scores.is_file():
            config = self._final_config(path, final)
            config.resume = last_checkpoint(final) is not None
            train(config)
            if config.get('test_dataloader'):
                test(self._final_config(path, final / 'test'), find_result_checkpoint(config))
        print(f'  trained network: {final}, config: {path}')
        if not scores.is_file():
            return None
        return json.loads(scores.read_text(encoding='utf-8')).get(SCORE)

    def _final_config(self, path: Path, folder: Path) -> Config:
        config = Config.fromfile(str(path))
        config.work_dir = config.visualizer.name = str(folder)
        config.randomness = {**config.get('randomness', {}), 'seed': self.plan.network.seed}
        return config


class _Numbers:
    """Integers as candidates, to count the trainings of a selection without building networks."""

    def __init__(self, fidelities: tuple[float, ...]) -> None:
        self.fidelities = fidelities

    def random(self, rng: np.random.Generator) -> int:
        return int(rng.integers(1000))

    def neighbours(self, candidate: int, rng: np.random.Generator) -> list[int]:
        return []

    def encode(self, candidate: int) -> np.ndarray:
        return np.array([candidate], float)

    def cost(self, candidate: int) -> float:
        return 1.0


def count_trainings(plan: SelectionPlan, rungs: tuple[float, ...], initial: int) -> list[int]:
    """Return the number of trainings of each rung if none fails.

    Args:
        plan: Settings of the selection.
        rungs: Share of the full schedule of each rung.
        initial: Number of candidates given by the user.
    """
    baselines, counts = range(-len(plan.baselines), 0), [0] * len(rungs)
    steps = selection_steps(
        _Numbers(rungs), plan.budget, 0, None, range(initial), baselines, plan.strategy
    )
    rng = np.random.default_rng(0)

    def count(request: Request) -> float:
        counts[request.fidelity] += 1
        return float(rng.normal())

    run_steps(steps, count)
    return counts


def _key(request: Request) -> str:
    """Return the key of a training in the queue."""
    candidate: Any = request.candidate
    return f'{candidate.name}-{request.fidelity}-{request.seed}'

"""Run of a selection: from tiles to the best network, trained.

Files of a work dir:

    search.json              settings; --resume reads them
    network.py               copy of the user's config
    splits/                  lists to train and to score candidates on
    trials.log               queue of trainings, unless --storage is set
    trainings/<candidate>/   training of each candidate, a folder and a result for each rung
    workers/                 logs of the worker processes
    pace.json                measured seconds of an epoch of each candidate, and the lengths
    leaderboard.csv, .json   all candidates with their costs and scores, the best first
    curves.csv               scores of all validations
    report.html              report with figures, updated while the selection runs
    architecture.json        the winner, if it is an architecture of a search space
    retrain.py               config of the winner
    ensemble.py, .pth        ensemble of finalists, with --ensemble
    final/                   training of the winner on the whole training list, and its test
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline
from dnas_mmseg.files import check_config_folder, lock_folder, write_json, write_text
from dnas_mmseg.runs.durations import duration
from dnas_mmseg.runs.network import movable_text
from dnas_mmseg.work_dir import NETWORK_FILE, PACE_FILE, PLAN_FILE

from .algorithm import Request, selection_steps
from .candidates import CandidateSet
from .checks import check_evaluation
from .families import Candidate
from .final_training import WRITTEN_HERE, FinalTraining
from .identity import check_queue, check_queue_plan, check_work_dir, get_identity
from .leaderboard import Leaderboard
from .lengths import Trainings, count_trainings, fit_lengths
from .pace import Pace, measure_pace
from .plan import OF_THE_MACHINE, SelectionPlan
from .progress import Progress, show_plan
from .queue import StorageError, TrainingQueue, public_name
from .report import save_results
from .split import check_leakage
from .trainings import CandidateTrainings, breaks_gpu, key_of
from .workers import Workers, default_workers

_POLL_INTERVAL = 1.0
"""Time between two requests to the queue, in seconds. Less burdens the storage, more delays the
next batch."""

_JOURNAL = 'trials.log'

_PACE_DIFFERENCE = 0.1
"""Relative difference of the times of two plans that is pointed out."""


def select_network(
    plan: SelectionPlan,
    work_dir: str | os.PathLike,
    *,
    storage: str | None = None,
    workers: int | None = None,
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
        workers: Number of parallel trainings on this machine. Defaults to one per visible GPU, or
            one without a GPU.
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
        >>> plan = SelectionPlan('mine.py', hours=8)  # doctest: +SKIP
        >>> select_network(plan, 'work_dirs/select', workers=2).name  # doctest: +SKIP
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise UserError(f'workers = {workers}: expected at least 1')
    if join and storage is None:
        raise UserError('--join requires the --storage of the selection')
    check_config_folder(work_dir)
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


def load_shared_plan(storage: str) -> SelectionPlan:
    """Return the plan of a selection in a storage, without settings that could run or read files.

    Others may write to a storage. Config, options, lists and families are therefore not taken from
    it. The joining command must set them, and they are compared with those of the selection.

    Raises:
        StorageError: The storage contains no selection.
    """
    text = TrainingQueue(storage, {}, join=True).get_metadata('plan')
    if text is None:
        raise StorageError(f'{public_name(storage)}: its selection has not started; join it later')
    return replace(SelectionPlan.parse(text, public_name(storage), '.'), **OF_THE_MACHINE)


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
        self.plan, self.work_dir, self.count, self.given_pace = plan, work_dir, workers, pace
        self._joins = False
        self.storage, self.storage_option = storage or str(work_dir / _JOURNAL), storage
        # Without a GPU it is CPU time, which other programs on the machine do not lengthen.
        self._clock = time.monotonic if torch.cuda.is_available() else time.thread_time
        self._began = self._clock()

    def dry_run(self) -> None:
        """Print the trainings and their estimated time."""
        with tempfile.TemporaryDirectory() as folder:
            self._prepare(Path(folder))
            self._check_evaluation()
            self._measure()
        self._show_plan()

    def run(self, resume: bool, retry_failed: bool) -> Candidate:
        """Select a network, train it on the whole training list, and test it."""
        check_work_dir(self.plan, self.work_dir, resume)
        self._prepare()
        self._check_evaluation()
        identity = get_identity(self.plan, self.trainings, self.work_dir)
        # The queue of a resumed selection must exist: a new one would repeat all trainings.
        resumed = (self.work_dir / PLAN_FILE).is_file()
        queue = TrainingQueue(self.storage, {} if resumed else identity, join=resumed)
        check_queue(queue, self.plan, self.work_dir, identity)
        write_text(self.work_dir / PLAN_FILE, self.plan.to_json(self.work_dir))
        text = movable_text(self.candidates.config, self.plan.data_root, self.work_dir)
        write_text(self.work_dir / NETWORK_FILE, f'{WRITTEN_HERE}\n{text}')
        if queue.get_metadata('pixels') is None:
            queue.set_metadata('pixels', self._pixel_scores())
        if queue.get_metadata('pace') is None:
            self._measure()
            self._save_pace(queue)
        self._load_pace(queue)
        outcomes = queue.outcomes().values()
        if retry_failed or (outcomes and all(outcome.score is None for outcome in outcomes)):
            print(f'retrying {len(queue.retry_failed())} failed trainings')
        assert self.pace.lengths is not None
        if not self.pace.lengths.seconds:
            self._show_plan()
            FinalTraining(self.trainings, self.work_dir, self.pace).train_alone(self._default)
            return self._default
        board = self._select(queue)
        winner = board.winner
        assert winner is not None
        training = FinalTraining(self.trainings, self.work_dir, self.pace)
        try:
            save_results(board, self.work_dir, True, self.storage_option)
            trained = training.continue_winner(winner, board)
            if self.plan.ensemble:
                board.ensemble = training.build_ensemble(board)
            board.finish(*trained)
        except BaseException as error:
            board.stopped = str(error) or type(error).__name__
            raise
        finally:
            save_results(board, self.work_dir, False, self.storage_option)
        return winner

    def join(self) -> None:
        """Run trainings of another command's selection until it is complete."""
        self._joins = True
        queue = TrainingQueue(self.storage, {}, join=True)
        if any(queue.get_metadata(name) is None for name in ('plan', 'pace')):
            raise StorageError(f'{queue.storage}: its selection has not started; join it later')
        check_queue_plan(queue, self.plan, self.work_dir)
        self._prepare()
        identity = get_identity(self.plan, self.trainings, self.work_dir)
        check_queue(queue, self.plan, self.work_dir, identity)
        self._load_pace(queue)
        board = self._select(queue)
        save_results(board, self.work_dir, False, self.storage_option)

    def _prepare(self, splits: Path | None = None) -> None:
        """Build candidates and trainings, and check configs and lists.

        Args:
            splits: Folder of the lists to train and score on; defaults to that of the work dir.
        """
        self.candidates = CandidateSet(self.plan)
        self.trainings = CandidateTrainings(self.candidates, self.work_dir, splits)
        check_leakage(self.candidates.config, *self.trainings.lists())

    def _check_evaluation(self) -> None:
        """Check that candidates and winner can be scored."""
        check_evaluation(self.trainings.with_lists(copy.deepcopy(self.candidates.config)))

    def _measure(self) -> None:
        """Time the candidates, and derive the lengths of their trainings."""
        if self.given_pace is not None:
            self.pace = self.given_pace
            assert self.pace.lengths is not None
            total = self.pace.lengths.total
            if abs(total / (3600 * self.plan.hours) - 1) > _PACE_DIFFERENCE:
                print(f'note: lengths of --pace, for {total / 3600:.3g} hours, apply: not --hours')
            return
        self.pace = measure_pace(self.trainings)
        seconds = 3600 * self.plan.hours - (self._clock() - self._began)
        self.pace.lengths = fit_lengths(
            max(seconds, 1.0),
            self.count,
            self.pace.typical_epoch(),
            self.pace.least_training(),
            self.pace.schedule,
            self.pace.typical_validation(),
            len(self._initial),
            self._available,
        )

    def _save_pace(self, queue: TrainingQueue) -> None:
        queue.set_metadata('pace', self.pace.to_document())
        queue.set_metadata('excluded', self.candidates.excluded)

    def _load_pace(self, queue: TrainingQueue) -> None:
        """Load the measured times of the queue, and set the rungs of the candidates."""
        self.pace = Pace.parse(queue.get_metadata('pace'))
        for name, reason in (queue.get_metadata('excluded') or {}).items():
            if name in self.candidates.families:
                self.candidates.exclude(name, reason)
        self.candidates.latencies.update(self.pace.latencies)
        assert self.pace.lengths is not None
        if self.pace.lengths.seconds:
            self.candidates.fidelities = self.pace.lengths.fidelities
        write_json(self.work_dir / PACE_FILE, self.pace.to_document(), indent=None)

    def _pixel_scores(self) -> dict[str, float]:
        """Return the scores of the per-pixel baselines on the scored tiles, in percent.

        They are for comparison only: data that they do not support are no reason to stop.
        """
        config = self.trainings.with_lists(copy.deepcopy(self.candidates.config))
        try:
            training, scored = (
                multi_band_parts(DATASETS.build(config[f'{split}_dataloader'].dataset))
                for split in ('train', 'val')
            )
            return evaluate_pixel_baseline(training, scored, self.plan.seed).scores
        except UserError as error:
            print(f'note: no per-pixel baselines in the leaderboard: {error}')
            return {}

    def _content(self, request: Request) -> dict[str, Any]:
        """Return the description of a training for the queue."""
        macs = self.candidates.cost_by(request.candidate, 'macs')
        rungs = self.pace.rungs(request.candidate, macs, request.fidelity)
        return self.trainings.content(request, *rungs)

    def _show_plan(self) -> Trainings | None:
        """Print the plan, and return the trainings of each rung; None without a comparison."""
        lengths = self.pace.lengths
        assert lengths is not None
        if not lengths.seconds:
            print(
                f'{self.plan.hours:g} hours do not suffice to compare candidates: '
                f'{self.candidates.label(self._default)} is trained for all of them'
            )
            return None
        trainings = count_trainings(
            lengths.fidelities, lengths.budget, len(self._initial), self._available, self.count
        )
        show_plan(lengths, trainings, self.count, self.pace.typical_epoch())
        problem = self.trainings.validation_problem
        if self.plan.lists is None and problem and not self.trainings.scores_on_validation:
            print(f'note: candidates are scored on a fifth of the training list, because {problem}')
        tried, untried = self._initial[: trainings.counts[0]], self._initial[trainings.counts[0] :]
        if untried:
            names = ', '.join(self.candidates.label(candidate) for candidate in untried)
            print(f'note: the time does not suffice for {names}; increase --hours')
        for candidate in filter(self._is_timed, tried):
            epoch = self.pace.epoch(candidate, self.candidates.cost_by(candidate, 'macs'))
            if epoch > lengths.seconds[0]:
                print(
                    f'note: an epoch of {self.candidates.label(candidate)} takes '
                    f'{duration(epoch)}, longer than planned for its first rung: the selection '
                    'ends later'
                )
        return trainings

    @property
    def _available(self) -> float:
        """Number of candidates."""
        return sum(family.size for family in self.candidates.families.values())

    @property
    def _initial(self) -> list[Candidate]:
        """Initial candidates within the limit."""
        return [c for c in self.candidates.initial if self.candidates.affordable(c)]

    @property
    def _default(self) -> Candidate:
        """Candidate that is trained if the time does not suffice for two."""
        if not self._initial:
            raise UserError('no candidate is within the limit: increase it')
        return self._initial[0]

    def _select(self, queue: TrainingQueue) -> Leaderboard:
        """Run the algorithm on the outcomes of the queue, with the workers of this command."""
        lengths = self.pace.lengths
        assert lengths is not None
        trainings = self._show_plan()
        assert trainings is not None
        steps = selection_steps(
            self.candidates,
            lengths.budget,
            self.plan.seed,
            self.plan.limit,
            self._initial,
            self.candidates.is_searched,
        )
        pixels = queue.get_metadata('pixels') or {}
        batch, board = next(steps), Leaderboard(self.candidates, lengths, pixels)
        board.planned = trainings.cost
        with Progress(trainings, lengths) as progress:
            workers = Workers(self.plan, self.work_dir, self.storage, self.count)
            try:
                while True:
                    keys = [key_of(request) for request in batch]
                    outcomes = queue.outcomes()
                    changed = progress.update(queue.running(), outcomes)
                    board.left = (progress.left or 0.0) + lengths.longest
                    if all(key in outcomes for key in keys):
                        done = [outcomes[key] for key in keys]
                        board.add(zip(batch, done, strict=True))
                        self._discard_below(batch[0].fidelity - 1, board)
                        save_results(board, self.work_dir, True, self.storage_option)
                        results: list[float | Exception] = [
                            UserError(o.error) if o.score is None else o.score for o in done
                        ]
                        try:
                            batch = steps.send(results)
                        except StopIteration as finished:
                            selection = finished.value
                            break
                        continue
                    waiting = {
                        key: request
                        for key, request in zip(keys, batch, strict=True)
                        if key not in outcomes
                    }
                    self._time_new(queue, [request.candidate for request in waiting.values()])
                    queue.request(
                        {
                            key: self._content(request)
                            for key, request in waiting.items()
                            if self._is_timed(request.candidate)
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
        self._discard_below(board.last, board)
        print(' '.join(board.verdict()))
        return board

    def _is_timed(self, candidate: Candidate) -> bool:
        return candidate.family in self.pace.spaces or candidate.name in self.pace.candidates

    def _time_new(self, queue: TrainingQueue, candidates: list[Candidate]) -> None:
        """Time candidates of configs whose choices were not timed yet.

        Only the command that started the selection does, so that all lengths are measured on one
        machine. A candidate that cannot be timed gets a typical time; its training fails.
        """
        if all(map(self._is_timed, candidates)):
            return
        shared = Pace.parse(queue.get_metadata('pace'))  # the other command may have timed them
        self.pace.candidates.update(shared.candidates)
        self.pace.latencies.update(shared.latencies)
        self.candidates.latencies.update(self.pace.latencies)
        new = [candidate for candidate in candidates if not self._is_timed(candidate)]
        if self._joins or not new:
            return
        for candidate in new:
            try:
                self.pace.add(self.trainings, candidate)
            except Exception as error:  # classes of any package may fail in any way
                if breaks_gpu(error):
                    raise
                warn(f'{candidate.name} cannot be timed: {type(error).__name__}: {error}')
                self.pace.candidates[candidate.name] = self.pace.typical_epoch()
        queue.set_metadata('pace', self.pace.to_document())
        write_json(self.work_dir / PACE_FILE, self.pace.to_document(), indent=None)

    def _discard_below(self, rung: int, board: Leaderboard) -> None:
        """Remove the checkpoints of candidates that have not reached a rung."""
        for candidate, row in board.rows.items():
            highest = max((at for at, seed in row.scores if seed == 0), default=-1)
            if highest < rung:
                self.trainings.discard(f'{candidate.name}-0-0')
            for seed in {seed for _, seed in row.scores} - {0}:  # repeats are not continued
                self.trainings.discard(f'{candidate.name}-0-{seed}')

"""Run of a selection: from tiles to the best network, trained.

Files of a work dir:

    search.json              settings; --resume reads them
    network.py               copy of the user's config
    splits/<seed>/           parts of the training list to train and to score candidates on
    trials.log               queue of trainings, unless --storage is set
    trainings/<candidate>/   training of each candidate, continued when it is promoted
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
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.checkpoints import POINTER, last_checkpoint
from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.engine.configs import format_inheriting_config
from dnas_mmseg.engine.length import fit_length, scale_schedule
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline
from dnas_mmseg.files import lock_folder, write_json, write_text
from dnas_mmseg.runs.network import movable_text
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.work_dir import (
    ARCHITECTURE_FILE,
    ENSEMBLE_FILE,
    FINAL_FOLDER,
    NETWORK_FILE,
    PACE_FILE,
    PLAN_FILE,
    RETRAIN_FILE,
    TEST_SCORES,
)

from .algorithm import Request, run_steps, selection_steps
from .candidates import CandidateSet
from .ensemble import (
    ensemble_config,
    merge_checkpoints,
    predict_probabilities,
    select_members,
)
from .families import Candidate
from .leaderboard import EnsembleResult, Leaderboard
from .lengths import fit_lengths
from .pace import Pace, measure_pace
from .plan import OF_THE_MACHINE, SelectionPlan
from .progress import Progress, show_plan
from .queue import StorageError, TrainingQueue, public_name
from .report import save_results
from .samples import draw_predictions
from .split import check_leakage
from .trainings import (
    SCORE,
    CandidateTrainings,
    config_checksum,
    data_checksum,
    set_constant_rate,
    set_hooks,
    set_length,
)
from .workers import Workers

_WRITTEN_HERE = '# Written by `dnas select`; an ordinary config.'
"""First line of every config that a selection writes."""

_POLL_INTERVAL = 1.0
"""Time between two requests to the queue, in seconds. Less burdens the storage, more delays the
next batch."""

_VALIDATION_SHARE = 0.1
"""Largest share of a rung's time for validations."""

_VALIDATIONS = 3
"""Largest number of validations per rung; they are the points of the curves."""

_MANY = 1000
"""Number of candidates for which trainings are counted where there are more."""

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
        >>> plan = SelectionPlan('mine.py', hours=8)  # doctest: +SKIP
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
            self._measure()
        self._show_plan()

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
        text = movable_text(self.candidates.config, self.plan.data_root, self.work_dir)
        write_text(self.work_dir / NETWORK_FILE, f'{_WRITTEN_HERE}\n{text}')
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
            return self._train_default()
        board = self._select(queue)
        winner = board.winner
        assert winner is not None
        try:
            save_results(board, self.work_dir, True, self.storage_option)
            trained = self._train_winner(winner, board)
            if self.plan.ensemble:
                board.ensemble = self._build_ensemble(board)
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
        self._require_equal(queue, self._plan_differences(queue))  # before anything is built
        self._prepare()
        self._compare(queue, self._identity())
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

    def _measure(self) -> None:
        """Time the candidates, and derive the lengths of their trainings."""
        if self.given_pace is not None:
            self.pace = self.given_pace
            return
        self.pace = measure_pace(self.trainings)
        seconds = 3600 * self.plan.hours - (self._clock() - self._began)
        self.pace.lengths = fit_lengths(
            max(seconds, 1.0),
            self.count,
            self.pace.typical_epoch(),
            self.pace.schedule,
            self.pace.typical_validation(),
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
        """Return the scores of the per-pixel baselines on the scored part, in percent.

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

    def _identity(self) -> dict[str, str]:
        """Return the metadata that all commands of a queue must share."""
        config = self.trainings.with_lists(copy.deepcopy(self.candidates.config))
        return {
            'plan': self.plan.to_json(self.work_dir),
            'data': data_checksum(config, self.work_dir),
            'config': config_checksum(self.candidates),
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
                + '\nRepeat its --config, --cfg-options, --lists, --families, --candidates and '
                '--latency-table'
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

    def _epochs(self, candidate: Candidate, seconds: float) -> int:
        """Return the number of epochs of a candidate in a time, at least one."""
        macs = self.candidates.cost_by(candidate, 'macs')
        return max(1, round(seconds / self.pace.epoch(candidate, macs)))

    def _content(self, request: Request) -> dict[str, Any]:
        """Return the description of a training for the queue."""
        lengths = self.pace.lengths
        assert lengths is not None
        rung = request.fidelity
        begin = lengths.seconds[rung - 1] if rung else 0.0
        time_of_rung = lengths.seconds[rung] - begin
        validation = self.pace.validations.get(request.candidate.family, 0.0)
        affordable = _VALIDATION_SHARE * time_of_rung / max(validation, 1e-9)
        validations = int(min(max(affordable, 1), _VALIDATIONS))
        epochs = self._epochs(request.candidate, lengths.seconds[rung])
        return self.trainings.content(request, epochs, validations)

    def _show_plan(self) -> list[int]:
        """Print the plan, and return the number of trainings of each rung."""
        lengths = self.pace.lengths
        assert lengths is not None
        if not lengths.seconds:
            print(
                f'{self.plan.hours:g} hours do not suffice to compare candidates: '
                f'{self.candidates.label(self._default)} is trained for all of them'
            )
            return []
        available = sum(family.size for family in self.candidates.families.values())
        counts = count_trainings(
            lengths.fidelities, lengths.budget, len(self._initial), int(min(available, _MANY))
        )
        show_plan(lengths, counts, self.count, self.pace.typical_epoch())
        untried = self._initial[counts[0] :]
        if untried:
            names = ', '.join(self.candidates.label(candidate) for candidate in untried)
            print(f'note: the time does not suffice for {names}; increase --hours')
        return counts

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
        counts = self._show_plan()
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
        with Progress(counts, lengths, self.count) as progress:
            workers = Workers(self.plan, self.work_dir, self.storage, self.count)
            try:
                while True:
                    keys = [_key(request) for request in batch]
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

    def _train_winner(
        self, winner: Candidate, board: Leaderboard
    ) -> tuple[dict[str, float], Figure | None]:
        """Train the winner further on the whole training list, and test it.

        Returns:
            Scores on the test tiles, in percent, and a figure with predictions; empty and None
            without test tiles.
        """
        lengths = self.pace.lengths
        assert lengths is not None
        row, unspent = board.rows[winner], max(lengths.budget - board.spent, 0.0)
        begun, left = row.epochs, lengths.longest * (1 + unspent / self.count)
        source = self.trainings.folder_of(f'{winner.name}-0-0')
        own, split = (
            self.candidates.config,
            self.trainings.with_lists(copy.deepcopy(self.candidates.config)),
        )
        tiles, used = (
            len(DATASETS.build(config.train_dataloader.dataset)) for config in (own, split)
        )
        more = max(1, round(self._epochs(winner, left) * used / tiles))
        config = self.candidates.full_config(winner)
        scale_schedule(config, begun + more)
        path = self._write_retrain(winner, config, row.mean(board.last))
        final = self.work_dir / FINAL_FOLDER
        if not (final / 'test' / TEST_SCORES).is_file() and last_checkpoint(final) is None:
            _copy_checkpoint(source, final)
        further = self.candidates.full_config(winner)
        set_constant_rate(further)
        set_length(further, begun + more, more)
        set_hooks(further, more)
        return self._train_and_test(further, final, path)

    def _build_ensemble(self, board: Leaderboard) -> EnsembleResult | None:
        """Combine finalists to an ensemble, write its config and weights, and test it.

        Returns:
            The ensemble; None if no combination scores higher than its best member.
        """
        found: dict[Candidate, Path] = {}
        for candidate, row in board.rows.items():
            checkpoint = last_checkpoint(self.trainings.folder_of(f'{candidate.name}-0-0'))
            if (board.last, 0) in row.scores and checkpoint is not None:
                found[candidate] = checkpoint
        outputs = {c: _outputs(self.candidates.full_config(c)) for c in found}
        if found:
            best = max(found, key=lambda c: board.rows[c].scores[board.last, 0])
            found = {c: path for c, path in found.items() if outputs[c] == outputs[best]}
        if len(found) < 2:
            print('  no ensemble: fewer than two finalists with equal outputs were trained here')
            return None
        predicted = [
            predict_probabilities(
                self.trainings.with_lists(self.candidates.full_config(candidate)), str(checkpoint)
            )
            for candidate, checkpoint in found.items()
        ]
        indices, score = select_members(
            [probabilities for probabilities, _ in predicted], predicted[0][1], self.plan.ensemble
        )
        if len(indices) < 2:
            print('  no ensemble: no combination of finalists scores higher than the best one')
            return None
        members = [list(found)[i] for i in indices]
        models = [self.candidates.full_config(member).model for member in members]
        path, weights = self.work_dir / ENSEMBLE_FILE, self.work_dir / 'ensemble.pth'
        config = ensemble_config(self.candidates.config, models)
        text = format_inheriting_config(NETWORK_FILE, self.candidates.config, config)
        write_text(path, f'{_WRITTEN_HERE}\n{text}')
        merge_checkpoints([found[member] for member in members], weights)
        tested = single = None
        if config.get('test_dataloader'):
            self._set_folder(config, self.work_dir / 'ensemble')
            tested = test(config, str(weights))[SCORE]
            alone = self.candidates.full_config(members[0])
            self._set_folder(alone, self.work_dir / 'ensemble/first')
            single = test(alone, str(found[members[0]]))[SCORE]
        print(f'  ensemble: {path}, weights: {weights}')
        names = tuple(board.rows[member].name for member in members)
        macs = sum(board.rows[member].macs for member in members)
        return EnsembleResult(names, score, tested, single, macs)

    def _train_default(self) -> Candidate:
        """Train the first candidate for all of the time, and test it."""
        candidate = self._default
        self._show_plan()
        config = self.candidates.full_config(candidate)
        path = self.work_dir / RETRAIN_FILE
        if not path.is_file():
            fit_length(config, self.plan.hours)
            self._write_retrain(candidate, config, None)
        self._train_and_test(Config.fromfile(str(path)), self.work_dir / FINAL_FOLDER, path)
        return candidate

    def _write_retrain(self, winner: Candidate, config: Config, score: float | None) -> Path:
        """Write the winner's config, and its architecture."""
        path = self.work_dir / RETRAIN_FILE
        if isinstance(winner.choice, Architecture):
            cost = {
                'metric': self.plan.cost,
                'predicted': self.candidates.cost(winner),
                'size': [self.plan.cost_size] * 2,
            }
            provenance = {'selected_with': 'dnas_mmseg', 'cost': cost, 'score': score}
            name = self.work_dir.resolve().name
            found = replace(winner.choice, name=name, provenance=provenance)
            found.save(self.work_dir / ARCHITECTURE_FILE)
            config.model.backbone.architecture = '{{ fileDirname }}/architecture.json'
        text = format_inheriting_config(NETWORK_FILE, self.candidates.config, config)
        write_text(path, f'{_WRITTEN_HERE}\n{text}')
        return path

    def _train_and_test(
        self, config: Config, final: Path, path: Path
    ) -> tuple[dict[str, float], Figure | None]:
        """Train a config in a folder unless it is tested, and test it."""
        scores = final / 'test' / TEST_SCORES
        self._set_folder(config, final)
        if not scores.is_file():
            config.resume = last_checkpoint(final) is not None
            train(config)
            if config.get('test_dataloader'):
                tested = Config.fromfile(str(path))
                self._set_folder(tested, final / 'test')
                test(tested, find_result_checkpoint(config))
        print(f'  trained network: {final}, config: {path}')
        if not scores.is_file():
            return {}, None
        checkpoint = find_result_checkpoint(config)
        samples = draw_predictions(Config.fromfile(str(path)), checkpoint)
        return json.loads(scores.read_text(encoding='utf-8')), samples

    def _set_folder(self, config: Config, folder: Path) -> None:
        config.work_dir = config.visualizer.name = str(folder)
        config.randomness = {**config.get('randomness', {}), 'seed': self.plan.seed}


def _copy_checkpoint(source: Path, target: Path) -> None:
    """Copy the last checkpoint of a training to another folder, so that it continues there."""
    checkpoint = last_checkpoint(source)
    if checkpoint is None:
        return  # another machine trained it; the training then starts from scratch
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(checkpoint, target / checkpoint.name)
    write_text(target / POINTER, checkpoint.name)


def _outputs(config: Config) -> int:
    """Return the number of output channels of a config's last decode head."""
    heads = config.model.decode_head
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    return head.get('out_channels') or head.num_classes


class _Numbers:
    """Integers as candidates, to count the trainings of a selection without building networks."""

    continues = True

    def __init__(self, fidelities: tuple[float, ...], available: int) -> None:
        self.fidelities, self._available = fidelities, available

    def random(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self._available))

    def neighbours(self, candidate: int, rng: np.random.Generator) -> list[int]:
        return []

    def encode(self, candidate: int) -> np.ndarray:
        return np.array([candidate], float)

    def cost(self, candidate: int) -> float:
        return 1.0


def count_trainings(
    fidelities: tuple[float, ...], budget: float, initial: int, available: int
) -> list[int]:
    """Return the number of trainings of each rung if none fails.

    Args:
        fidelities: Length of each rung, relative to the last one.
        budget: Budget of the selection, in trainings of the last rung.
        initial: Number of initial candidates.
        available: Number of all candidates.
    """
    counts = [0] * len(fidelities)
    steps = selection_steps(_Numbers(fidelities, available), budget, 0, None, range(initial))
    rng = np.random.default_rng(0)

    def count(request: Request) -> float:
        counts[request.fidelity] += 1
        return float(rng.normal())

    run_steps(steps, count)
    return counts


def _key(request: Request) -> str:
    """Return the key of a training in the queue."""
    return f'{request.candidate.name}-{request.fidelity}-{request.seed}'

"""The whole selection: from tiles to a trained network, by trainings that many processes share.

Files of a work dir:

    search.json              the plan; --resume goes by it
    network.py               the user's config as the selection found it; retrain.py inherits it
    train.txt, scored.txt    the parts of the training list that candidates train and are scored on
    trials.log               the queue of trainings, where --storage names no other
    trainings/<training>/    log and result of every training that was done on this machine
    workers/                 what the worker processes print
    gradient/                the gradient search, where it proposes a candidate
    leaderboard.csv, .json   every candidate with its cost and scores, the best first
    pace.json                how long training on a tile takes, from which lengths follow
    report.html              the same as a page with pictures, also while it runs
    architecture.json        the winner; retrain.py trains it
    final/                   the winner, trained on the whole training list, and its test
"""

from __future__ import annotations

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

from dnas_mmseg.engine.checkpoints import last_checkpoint
from dnas_mmseg.engine.configs import inheriting_text
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_text
from dnas_mmseg.search.pipeline import WRITTEN_HERE, movable_text, search
from dnas_mmseg.search.plan import NETWORK_FILE, PLAN_FILE
from dnas_mmseg.search.selection import Candidates, Request, Selection, run_steps, selection_steps
from dnas_mmseg.search.selection.study import StorageError, TrainingQueue, public_name
from dnas_mmseg.search.time import duration
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_architecture

from .networks import Candidate, SpaceCandidates
from .pacing import measure_pace
from .plan import GRADIENT, MIN_BUDGET, OF_THE_MACHINE, SelectionPlan
from .progress import Progress, planned_seconds, show_plan
from .result import Leaderboard, save_results
from .schedule import Pace, full_epochs, shorten
from .split import check_leakage, selection_lists
from .training import SCORE, CandidateTrainings, config_checksum, data_checksum
from .worker import Workers

_POLL = 1.0
"""Time between two looks at the queue, in seconds."""

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
    """Choose the best network for a training set by trainings, and train it.

    Args:
        plan: Settings of the selection.
        work_dir: Folder of all results.
        storage: Storage of the queue: path of a journal file, or URL of a database. By default a
            journal file in the work dir.
        workers: Number of trainings at a time on this machine.
        resume: Whether to go on where a selection in ``work_dir`` stopped.
        join: Whether to help a selection that another command began, in a work dir of one's own.
        dry_run: Whether to show only the trainings and the time that they would take.
        retry_failed: Whether to try trainings again that have failed. Where all have, they are
            tried again in any case.
        pace: ``pace.json`` of another selection, in place of measuring: selections of one seed are
            equal where their pace is.

    Returns:
        The winner; None for a dry run, or where another command's selection was helped.

    Raises:
        UserError: The work dir is in use or holds something else, the plan cannot work, or the
            storage cannot be used.
    """
    if workers < 1:
        raise UserError(f'workers = {workers}: at least 1 is needed')
    if join and storage is None:
        raise UserError('--join needs the --storage of the selection that is to be helped')
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


def budget_of(
    plan: SelectionPlan, work_dir: str | os.PathLike, hours: float, workers: int
) -> float:
    """Return the budget that some hours are worth on this machine, in full trainings.

    Training steps are timed for it. The training of the winner on all tiles is part of the hours.

    Args:
        plan: Settings of the selection, with any budget.
        work_dir: Folder of the selection.
        hours: Time that it may take.
        workers: Number of trainings at a time.

    Raises:
        UserError: The time is too short for a selection.
    """
    run = _SelectionRun(plan, Path(work_dir), None, workers)
    with lock_folder(work_dir):
        seconds = run.seconds_of_full_training()
    budget = math.floor(workers * (hours * 3600 / seconds - 1))
    if budget < MIN_BUDGET:
        raise UserError(
            f'{hours:g} hours: a full training takes about {duration(seconds)}, and at least '
            f'{MIN_BUDGET:g} of them, and one of the winner, are needed; give more hours, or '
            'shorten the schedule (--cfg-options train_cfg.max_epochs=...)'
        )
    return float(budget)


def shared_plan(storage: str) -> SelectionPlan:
    """Return the settings of the selection in a storage that whoever joins it may take over.

    Others can write to a storage. So what would be run or read, the config, its options, lists and
    baselines, is not taken from there: who joins gives them, and they are compared.

    Raises:
        StorageError: It holds none.
    """
    text = TrainingQueue(storage, {}, join=True).get_metadata('plan')
    if text is None:
        raise StorageError(f'{public_name(storage)}: its selection has not begun yet; join it then')
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
        self.storage, self.named_storage = storage or str(work_dir / _JOURNAL), storage

    def seconds_of_full_training(self) -> float:
        """Return about how long a full training of a typical candidate takes here."""
        with tempfile.TemporaryDirectory() as folder:
            self._prepare(Path(folder))
            pace = measure_pace(self.candidates, self.trainings)
        return planned_seconds(pace, self._samples, full_epochs(self.candidates.config))

    def dry_run(self) -> None:
        """Show the trainings and the time that they would take."""
        with tempfile.TemporaryDirectory() as folder:  # nothing is left behind
            self._prepare(Path(folder))
            pace = self.pace or measure_pace(self.candidates, self.trainings)
        self._show_plan(pace, len(self.plan.candidates))

    def run(self, resume: bool, retry_failed: bool) -> Candidate:
        """Choose a network, train it on all tiles, and test it."""
        self._claim(resume)
        self._prepare()
        facts = self._facts()
        begun = (self.work_dir / PLAN_FILE).is_file()
        queue = TrainingQueue(self.storage, facts, join=begun)  # its trainings must be found again
        self._compare(queue, facts)
        write_text(self.work_dir / PLAN_FILE, self.plan.to_json(self.work_dir))
        text = movable_text(self.candidates.config, self.plan.network.data_root, self.work_dir)
        write_text(self.work_dir / NETWORK_FILE, f'{WRITTEN_HERE}\n{text}')
        if GRADIENT in self.plan.candidates and not self._found.is_file():
            search(self.plan.gradient(), self.work_dir / 'gradient', resume=resume)
        if queue.get_metadata('given') is None:
            given = self.candidates.given(self._found)
            queue.set_metadata('given', [architecture.to_document() for architecture in given])
        if queue.get_metadata('pace') is None:
            pace = self.pace or measure_pace(self.candidates, self.trainings)
            queue.set_metadata('pace', pace.to_document())
        write_text(self.work_dir / 'pace.json', json.dumps(queue.get_metadata('pace')) + '\n')
        outcomes = queue.outcomes().values()
        if retry_failed or (outcomes and all(outcome.score is None for outcome in outcomes)):
            print(f'{len(queue.retry_failed())} trainings that have failed are tried again')
        selection, board = self._select(queue)
        save_results(board, self.work_dir, True, self.named_storage)
        board.finish(self._train_winner(selection, Pace.parse(queue.get_metadata('pace'))))
        save_results(board, self.work_dir, False, self.named_storage)
        return selection.best

    def join(self) -> None:
        """Help another command's selection until it is done."""
        queue = TrainingQueue(self.storage, {}, join=True)
        if any(queue.get_metadata(name) is None for name in ('plan', 'given', 'pace')):
            raise StorageError(f'{queue.storage}: its selection has not begun yet; join it then')
        self._refuse(queue, self._plan_differences(queue))  # before anything is built
        self._prepare()
        self._compare(queue, self._facts())
        _, board = self._select(queue)
        save_results(board, self.work_dir, False, self.named_storage)

    def _prepare(self, folder: Path | None = None) -> None:
        """Look at everything that can be wrong before a training starts.

        Args:
            folder: Folder of the lists to train and score on; the work dir by default.
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

    def _facts(self) -> dict[str, str]:
        """Return what all who share the queue must agree on."""
        return {
            'plan': self.plan.to_json(self.work_dir),
            'data': data_checksum(self.candidates.config, self.lists, self.work_dir),
            'config': config_checksum(self.trainings),
            'version': version('dnas_mmseg'),
        }

    def _compare(self, queue: TrainingQueue, facts: Mapping[str, str]) -> None:
        """Refuse a queue of another selection, other data or another config.

        Raises:
            StorageError: The queue is of something else; the message says what differs.
        """
        lines = self._plan_differences(queue)
        lines += [
            f'{what}: not the same here (their checksums differ)'
            for what in ('data', 'config')
            if facts[what] != queue.get_metadata(what)
        ]
        if facts['version'] != queue.get_metadata('version'):
            lines.append(f'version: {queue.get_metadata("version")}, here {facts["version"]}')
        self._refuse(queue, lines)

    def _plan_differences(self, queue: TrainingQueue) -> list[str]:
        kept = SelectionPlan.parse(queue.get_metadata('plan') or '', queue.storage, self.work_dir)
        return self.plan.differences(kept)

    def _refuse(self, queue: TrainingQueue, differences: list[str]) -> None:
        if differences:
            raise StorageError(
                f'{queue.storage} is of another selection. What differs:\n'
                + '\n'.join(f'  - {line}' for line in differences)
                + '\nGive --config, --cfg-options, --halves and --baselines as it was begun with'
            )

    def _claim(self, resume: bool) -> None:
        """Claim the work dir, or compare the plan with that of the selection in it.

        Raises:
            UserError: The work dir holds another search, or one that was not asked to be resumed.
        """
        if not (self.work_dir / PLAN_FILE).is_file():
            return
        before = SelectionPlan.load(self.work_dir)
        if not resume:
            raise UserError(
                f'{self.work_dir} holds a selection already: --resume goes on with it; choose '
                'another work dir for a new one'
            )
        differences = self.plan.differences(before)
        if differences:
            raise UserError(
                f'{self.work_dir} holds another selection. What differs:\n'
                + '\n'.join(f'  - {line}' for line in differences)
            )

    @property
    def _found(self) -> Path:
        """File of what the gradient search finds, where it proposes a candidate."""
        return self.work_dir / 'gradient' / 'architecture.json'

    def _epochs(self, request: Request, pace: Pace) -> int:
        share = self.candidates.fidelities[request.fidelity]
        seconds = pace.baselines.get(request.candidate.name) or pace.seconds(
            self.candidates.cost_by(request.candidate, 'macs')
        )
        return pace.epochs(seconds, full_epochs(self.candidates.config), share)

    def _show_plan(self, pace: Pace, given: int) -> tuple[list[int], float]:
        """Print the plan.

        Returns:
            Number of trainings of each rung, and about how long a full one takes, in seconds.
        """
        full, rungs = full_epochs(self.candidates.config), self.candidates.fidelities
        counts = training_counts(self.plan, rungs, given)
        seconds = planned_seconds(pace, self._samples, full)
        show_plan(self.plan, rungs, seconds, counts, full, self.count)
        return counts, seconds

    def _select(self, queue: TrainingQueue) -> tuple[Selection, Leaderboard]:
        """Run the algorithm on the queue's outcomes, with the workers of this command."""
        pace = Pace.parse(queue.get_metadata('pace'))
        given = [load_architecture(document) for document in queue.get_metadata('given')]
        counts, seconds = self._show_plan(pace, len(given))
        candidates: Candidates[Any] = self.candidates
        steps = selection_steps(
            candidates,
            self.plan.budget,
            self.plan.network.seed,
            self.plan.limit,
            given,
            self.candidates.baselines,
            self.plan.strategy,
        )
        batch, board = next(steps), Leaderboard(self.plan, self.candidates, given)
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
                    queue.release_lost(workers.keep_working())
                    if changed:
                        save_results(board, self.work_dir, True, self.named_storage)
                    time.sleep(_POLL)
            except BaseException as error:
                board.stopped = str(error) or type(error).__name__
                save_results(board, self.work_dir, False, self.named_storage)
                raise
            finally:
                workers.stop()
        board.decide(selection)
        print(' '.join(board.verdict()))
        return selection, board

    def _train_winner(self, selection: Selection, pace: Pace) -> float | None:
        """Write the winner's files, train it on the whole training list, and test it.

        Returns:
            Its score on the test tiles, in percent; None where there are none.
        """
        winner = selection.best
        epochs = self._epochs(Request(winner, len(self.plan.rungs) - 1, 0), pace)
        config = self.trainings.full_config(winner)
        interval = config.train_cfg.get('val_interval', 1)
        shorten(config, epochs)
        config.train_cfg.val_interval = min(interval, epochs)
        path = self.work_dir / 'retrain.py'
        if isinstance(winner, Architecture):
            cost = {
                'metric': self.plan.network.cost,
                'predicted': self.candidates.cost(winner),
                'size': [self.plan.network.cost_size] * 2,
            }
            provenance = {'selected_with': 'dnas_mmseg', 'cost': cost, 'score': selection.score}
            found = replace(winner, name=self.work_dir.resolve().name, provenance=provenance)
            found.save(self.work_dir / 'architecture.json')
            config.model.backbone.architecture = '{{ fileDirname }}/architecture.json'
            text = inheriting_text(NETWORK_FILE, self.candidates.config, config)
        else:
            text = config.pretty_text
        write_text(path, f'{WRITTEN_HERE}\n{text}')
        final = self.work_dir / 'final'
        scores = final / 'test' / 'test_scores.json'
        if not scores.is_file():
            config = self._final_config(path, final)
            config.resume = last_checkpoint(final) is not None
            train(config)
            if config.get('test_dataloader'):
                test(self._final_config(path, final / 'test'), find_result_checkpoint(config))
        print(f'  {final}: the trained network; configs {path}')
        if not scores.is_file():
            return None
        return json.loads(scores.read_text(encoding='utf-8')).get(SCORE)

    def _final_config(self, path: Path, folder: Path) -> Config:
        config = Config.fromfile(str(path))
        config.work_dir = config.visualizer.name = str(folder)
        config.randomness = {**config.get('randomness', {}), 'seed': self.plan.network.seed}
        return config


class _Numbers:
    """Candidates that are numbers: a selection among them is as long as one among networks."""

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


def training_counts(plan: SelectionPlan, rungs: tuple[float, ...], given: int) -> list[int]:
    """Return the number of trainings of each rung, where none fails.

    Args:
        plan: Settings of the selection.
        rungs: Share of the full schedule that a training of each rung costs.
        given: Number of candidates that the user names.
    """
    baselines, counts = range(-len(plan.baselines), 0), [0] * len(rungs)
    steps = selection_steps(
        _Numbers(rungs), plan.budget, 0, None, range(given), baselines, plan.strategy
    )
    rng = np.random.default_rng(0)

    def count(request: Request) -> float:
        counts[request.fidelity] += 1
        return float(rng.normal())

    run_steps(steps, count)
    return counts


def _key(request: Request) -> str:
    """Return the name of a training."""
    candidate: Any = request.candidate
    return f'{candidate.name}-{request.fidelity}-{request.seed}'

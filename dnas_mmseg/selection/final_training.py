"""Training of the winner on the whole training list, and the ensemble of finalists."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.engine.checkpoints import (
    find_checkpoint,
    find_usable_checkpoint,
    last_checkpoint,
    record_validation,
)
from dnas_mmseg.engine.config_parts import set_work_dir
from dnas_mmseg.engine.configs import format_inheriting_config
from dnas_mmseg.engine.length import fit_length, scale_schedule
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.files import write_json, write_text
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.visualization.learning_curves import read_scores
from dnas_mmseg.work_dir import (
    ARCHITECTURE_FILE,
    ENSEMBLE_FILE,
    FINAL_FOLDER,
    NETWORK_FILE,
    RETRAIN_FILE,
    TEST_SCORES,
    WINNER_FILE,
)

from .algorithm import Request
from .ensemble import (
    ensemble_config,
    merge_checkpoints,
    predict_probabilities,
    select_members,
)
from .families import Candidate
from .leaderboard import EnsembleResult, Leaderboard
from .pace import Pace
from .samples import draw_predictions
from .trainings import SCORE, CandidateTrainings, limited_threads, set_average, set_hooks

WRITTEN_HERE = '# Written by `dnas select`; an ordinary config.'
"""First line of every config that a selection writes."""


class FinalTraining:
    """What follows the comparison of candidates.

    Args:
        trainings: Trainings of the selection.
        work_dir: Work dir of the selection.
        pace: Measured times of the selection.
    """

    def __init__(self, trainings: CandidateTrainings, work_dir: Path, pace: Pace) -> None:
        self._trainings, self._work_dir, self._pace = trainings, work_dir, pace
        self._candidates, self._plan = trainings.candidates, trainings.plan

    def continue_winner(
        self, winner: Candidate, board: Leaderboard
    ) -> tuple[dict[str, float], Figure | None]:
        """Train the winner further on the whole training list, and test it.

        Its length is known now, so that it has the schedule of its own config, which starts from
        the weights of the comparison.

        Args:
            winner: The winner.
            board: Leaderboard of the selection.

        Returns:
            Scores on the test tiles, in percent, and a figure with predictions; empty and None
            without test tiles.
        """
        lengths, row = board.lengths, board.rows[winner]
        unspent = max(1 - board.spent / board.planned, 0.0)
        left = lengths.longest + unspent * (lengths.total - lengths.longest)
        own, split = (
            self._candidates.config,
            self._trainings.with_lists(copy.deepcopy(self._candidates.config)),
        )
        tiles, used = (
            len(DATASETS.build(config.train_dataloader.dataset)) for config in (own, split)
        )
        more = max(1, round(self._pace.epochs(winner, row.macs, left) * used / tiles))
        more = self._claim_final(winner, more)
        config = self._candidates.full_config(winner)
        scale_schedule(config, row.epochs + more)
        path = self._write_retrain(winner, config, row.mean(board.last))
        further = self._candidates.full_config(winner)
        final, request = self._work_dir / FINAL_FOLDER, Request(winner, board.last, 0)
        if (
            not (final / 'test' / TEST_SCORES).is_file()
            and find_usable_checkpoint(final)[0] is None
        ):
            rungs = self._pace.rungs(winner, row.macs, board.last)
            content = self._trainings.content(request, *rungs)
            further.load_from = str(self._trainings.ensure_checkpoint(request, content))
        scale_schedule(further, more)
        set_average(further)
        set_hooks(further, more)
        return self._train_and_test(further, final, path, (request, row.scores[board.last, 0]))

    def build_ensemble(self, board: Leaderboard) -> EnsembleResult | None:
        """Combine finalists to an ensemble, write its config and weights, and test it.

        Its members are chosen by their trainings in the comparison; the winner then enters with the
        weights of its further training.

        Args:
            board: Leaderboard of the selection.

        Returns:
            The ensemble; None if no combination scores higher than its best member.
        """
        path, weights = self._work_dir / ENSEMBLE_FILE, self._work_dir / 'ensemble.pth'
        for leftover in (path, weights):  # of finalists before failed trainings were retried
            leftover.unlink(missing_ok=True)
        found: dict[Candidate, Path] = {}
        for candidate, row in board.rows.items():
            checkpoint = self._trainings.checkpoint(Request(candidate, board.last, 0))
            if (board.last, 0) in row.scores and checkpoint is not None:
                found[candidate] = checkpoint
        outputs = {c: _outputs(self._candidates.full_config(c)) for c in found}
        if found:
            best = max(found, key=lambda c: board.rows[c].scores[board.last, 0])
            found = {c: path for c, path in found.items() if outputs[c] == outputs[best]}
        if len(found) < 2:
            print('  no ensemble: fewer than two finalists with equal outputs were trained here')
            return None
        predicted = [
            predict_probabilities(
                self._trainings.with_lists(self._candidates.full_config(candidate)), str(checkpoint)
            )
            for candidate, checkpoint in found.items()
        ]
        indices, score = select_members(
            [probabilities for probabilities, _ in predicted], predicted[0][1], self._plan.ensemble
        )
        if len(indices) < 2:
            print('  no ensemble: no combination of finalists scores higher than the best one')
            return None
        members = [list(found)[i] for i in indices]
        final = self._work_dir / FINAL_FOLDER
        if board.winner in members and last_checkpoint(final) is not None:
            found[board.winner] = find_checkpoint(final)
        configs = [self._candidates.full_config(member) for member in members]
        config = ensemble_config(self._candidates.config, configs)
        text = format_inheriting_config(NETWORK_FILE, self._candidates.config, config)
        write_text(path, f'{WRITTEN_HERE}\n{text}')
        merge_checkpoints([found[member] for member in members], weights)
        tested = single = None
        if config.get('test_dataloader'):
            self._set_folder(config, self._work_dir / 'ensemble')
            tested = test(config, str(weights))[SCORE]
            alone = self._candidates.full_config(members[0])
            self._set_folder(alone, self._work_dir / 'ensemble/first')
            single = test(alone, str(found[members[0]]))[SCORE]
        print(f'  ensemble: {path}, weights: {weights}')
        names = tuple(board.rows[member].name for member in members)
        macs = sum(board.rows[member].macs for member in members)
        return EnsembleResult(names, score, tested, single, macs)

    def train_alone(self, candidate: Candidate) -> None:
        """Train a candidate for all of the time, and test it."""
        config = self._candidates.full_config(candidate)
        path = self._work_dir / RETRAIN_FILE
        if not path.is_file():
            with limited_threads(self._plan.threads):
                fit_length(config, self._plan.hours)
            self._write_retrain(candidate, config, None)
        self._train_and_test(Config.fromfile(str(path)), self._work_dir / FINAL_FOLDER, path)

    def _claim_final(self, winner: Candidate, epochs: int) -> int:
        """Reserve the folder of the final training for a winner.

        After failed trainings were retried, another candidate may win: the folder of the earlier
        winner is renamed to ``final_<candidate>``.

        Args:
            winner: The winner.
            epochs: Number of epochs of its further training.

        Returns:
            Its number of epochs; that of the training in the folder, which may have begun, if it is
            of the same winner.
        """
        final = self._work_dir / FINAL_FOLDER
        path = final / WINNER_FILE
        if path.is_file():
            earlier = json.loads(path.read_text(encoding='utf-8'))
            if earlier['candidate'] == winner.name:
                return earlier['epochs']
            name = f'{FINAL_FOLDER}_{earlier["candidate"]}'
            target, number = final.with_name(name), 1
            while target.exists():
                number += 1
                target = final.with_name(f'{name}_{number}')
            final.rename(target)
            print(f'  another candidate won before; its training is now {target}')
        write_json(path, {'candidate': winner.name, 'epochs': epochs})
        return epochs

    def _write_retrain(self, winner: Candidate, config: Config, score: float | None) -> Path:
        """Write the winner's config, and its architecture."""
        path = self._work_dir / RETRAIN_FILE
        if isinstance(winner.choice, Architecture):
            cost = {
                'metric': self._plan.cost,
                'predicted': self._candidates.cost(winner),
                'size': [self._plan.cost_size] * 2,
            }
            provenance = {'selected_with': 'dnas_mmseg', 'cost': cost, 'score': score}
            name = self._work_dir.resolve().name
            found = replace(winner.choice, name=name, provenance=provenance)
            found.save(self._work_dir / ARCHITECTURE_FILE)
            config.model.backbone.architecture = '{{ fileDirname }}/architecture.json'
        else:  # an earlier winner may have been one, before failed trainings were retried
            (self._work_dir / ARCHITECTURE_FILE).unlink(missing_ok=True)
        text = format_inheriting_config(NETWORK_FILE, self._candidates.config, config)
        write_text(path, f'{WRITTEN_HERE}\n{text}')
        return path

    def _train_and_test(
        self,
        config: Config,
        final: Path,
        path: Path,
        before: tuple[Request, float] | None = None,
    ) -> tuple[dict[str, float], Figure | None]:
        """Train a config in a folder unless it is tested, and test it.

        Args:
            config: Config to train.
            final: Folder of the training.
            path: Config of the winner, to test.
            before: Training that this one continues, and its score in percent.
        """
        scores = final / 'test' / TEST_SCORES
        self._set_folder(config, final)
        if not scores.is_file():
            config.resume = find_usable_checkpoint(final)[0] is not None
            if config.resume:
                config.load_from = None
            with limited_threads(self._plan.threads):  # for which it was timed
                train(config)
            if before is not None:
                self._keep_better(final, *before)
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

    def _keep_better(self, final: Path, request: Request, score: float) -> None:
        """Add the weights that the final training started from, if they score higher.

        The folder stands for them if its own score is lower by more than chance, see
        :func:`dnas_mmseg.engine.checkpoints.find_checkpoint`. Both are scored on the same tiles
        only where candidates are scored on the validation list.

        Args:
            final: Folder of the final training.
            request: Training that it continued.
            score: Score of that training, in percent.
        """
        scores, checkpoint = read_scores(final, SCORE), self._trainings.checkpoint(request)
        if not (self._trainings.scores_on_validation and scores) or checkpoint is None:
            return
        last = scores[max(scores)]
        if last >= score:
            return
        kept = final / f'best_{SCORE}_epoch_0.pth'
        shutil.copyfile(checkpoint, kept)
        record_validation(final, last, score, kept.name)
        if find_checkpoint(final) == kept:
            print(
                f'  further training lowered the score from {score:.2f} to {last:.2f} %: the '
                f'weights of the comparison are kept as {kept}'
            )

    def _set_folder(self, config: Config, folder: Path) -> None:
        set_work_dir(config, folder)
        config.randomness = {**(config.get('randomness') or {}), 'seed': self._plan.seed}


def _outputs(config: Config) -> tuple[int, float | None]:
    """Return the number of output channels of a config's last decode head, and its threshold."""
    heads = config.model.decode_head
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    return head.get('out_channels') or head.num_classes, head.get('threshold')

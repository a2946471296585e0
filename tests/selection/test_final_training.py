"""Length and start of the training of the winner."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnas_mmseg.engine.checkpoints import find_checkpoint
from dnas_mmseg.selection.algorithm import Request, Selection
from dnas_mmseg.selection.final_training import FinalTraining
from dnas_mmseg.selection.leaderboard import Leaderboard
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.queue import Outcome
from dnas_mmseg.selection.trainings import CandidateTrainings


@pytest.fixture
def training(candidates, pace, tmp_path, monkeypatch):
    """A winner after the second of three rungs, and its training, which is not run."""
    pace.lengths = Lengths((10.0, 30.0, 90.0), 3.0, 390.0, 1.0)  # epochs of a second
    winner = candidates.families['small_unet'].default
    board = Leaderboard(candidates, pace.lengths, {})
    for rung, epochs in enumerate((10, 30)):
        board.add([(Request(winner, rung, 0), Outcome(60.0, metadata={'epochs': epochs}))])
    board.decide(Selection(winner, winner, 60.0, 1, (), None, board.spent, (), {}, {}))
    trainings = CandidateTrainings(candidates, tmp_path)
    asked, configs = [], []

    def ensure_checkpoint(request, content):
        asked.append((request, content))
        return tmp_path / 'epoch_20.pth'

    monkeypatch.setattr(trainings, 'ensure_checkpoint', ensure_checkpoint)
    final = FinalTraining(trainings, tmp_path, pace)
    monkeypatch.setattr(final, '_train_and_test', lambda config, *_: configs.append(config))

    def run(candidate=winner):
        final.continue_winner(candidate, board)
        return configs[-1], asked

    return run, board


def test_the_winner_gets_the_time_that_is_left(training, tmp_path):
    run, board = training
    assert board.spent == pytest.approx(1 / 3)
    config, asked = run()
    # Of 390 s, 90 are the winner's, and eight ninths of the other 300 were not spent; 14 tiles
    # instead of the 11 that candidates are trained on take longer.
    tiles = [len(path.read_text().splitlines()) for path in (tmp_path / 'splits/0').glob('*.txt')]
    share = (sum(tiles) - min(tiles)) / sum(tiles)
    assert config.train_cfg.max_epochs == round((90 + 300 * 8 / 9) * share)
    assert config.load_from == str(tmp_path / 'epoch_20.pth')
    assert [hook.type for hook in config.custom_hooks] == ['EMAHook']
    ((request, content),) = asked
    assert (request.fidelity, content['epochs'], content['seed']) == (1, [10, 30], 0)


def test_the_winner_is_trained_on_the_threads_of_the_plan(
    candidates, pace, plan, tmp_path, monkeypatch
):
    """Its epochs are those of so many."""
    plan = candidates.plan = replace(plan, threads=torch.get_num_threads() + 1)
    seen = []
    monkeypatch.setattr(
        'dnas_mmseg.selection.final_training.train',
        lambda config: seen.append(torch.get_num_threads()),
    )
    final = FinalTraining(CandidateTrainings(candidates, tmp_path), tmp_path, pace)
    winner = candidates.families['dnas'].random(np.random.default_rng(0))
    (tmp_path / 'retrain.py').write_text(candidates.full_config(winner).pretty_text)
    config = candidates.full_config(winner)
    config.test_dataloader = None
    final._train_and_test(config, tmp_path / 'final', tmp_path / 'retrain.py')
    assert seen == [plan.threads]
    assert torch.get_num_threads() == plan.threads - 1


@pytest.mark.parametrize(
    ('own_list', 'score', 'kept'),
    [
        (True, 57.9, 'best_mIoU_epoch_0.pth'),  # more than two points below 60
        (True, 58.1, 'epoch_4.pth'),
        (True, 63.0, 'epoch_4.pth'),
        (False, 40.0, 'epoch_4.pth'),  # of other tiles than the score of the comparison
    ],
)
def test_weights_that_further_training_made_worse_are_kept(
    own_list, score, kept, candidates, pace, tmp_path, monkeypatch
):
    winner = candidates.families['small_unet'].default
    board = Leaderboard(candidates, pace.lengths, {})
    for rung in range(2):
        board.add([(Request(winner, rung, 0), Outcome(60.0, metadata={'epochs': 3}))])
    board.decide(Selection(winner, winner, 60.0, 1, (), None, board.spent, (), {}, {}))
    trainings = CandidateTrainings(candidates, tmp_path)
    (tmp_path / 'network.py').write_text(candidates.config.pretty_text)
    checkpoint = tmp_path / 'epoch_2.pth'
    checkpoint.write_bytes(b'of the comparison')
    monkeypatch.setattr(trainings, 'checkpoint', lambda request: checkpoint)
    trainings.lists()
    if own_list:
        (tmp_path / 'splits/0').rename(tmp_path / 'splits/validation')
    final = tmp_path / 'final'
    tested = []

    def train(config):
        assert config.load_from == str(checkpoint)
        (final / '20261130/vis_data').mkdir(parents=True)
        lines = [json.dumps({'mIoU': value, 'step': step}) for step, value in ((2, 61), (4, score))]
        (final / '20261130/vis_data/scalars.json').write_text('\n'.join(lines))
        (final / 'epoch_4.pth').touch()
        (final / 'last_checkpoint').write_text('epoch_4.pth')

    def test(config, checkpoint):
        tested.append(checkpoint)

    module = 'dnas_mmseg.selection.final_training'
    monkeypatch.setattr(f'{module}.train', train)
    monkeypatch.setattr(f'{module}.test', test)
    FinalTraining(trainings, tmp_path, pace).continue_winner(winner, board)
    assert tested == [str(final / kept)]
    assert find_checkpoint(final) == final / kept
    if kept.startswith('best'):
        assert (final / kept).read_bytes() == b'of the comparison'


def test_a_trained_winner_needs_no_checkpoint_of_the_comparison(training, tmp_path):
    run, _ = training
    _, asked = run()
    (tmp_path / 'final/test').mkdir(parents=True)
    (tmp_path / 'final/test/test_scores.json').write_text('{}')
    config, _ = run()
    assert (config.load_from, len(asked)) == (None, 1)


def test_another_winner_does_not_get_the_scores_of_the_earlier_one(training, pace, tmp_path):
    """After failed trainings were retried."""
    run, board = training
    first, _ = run()
    (tmp_path / 'architecture.json').touch()  # as if it were of a search space
    (tmp_path / 'final/test').mkdir()
    (tmp_path / 'final/test/test_scores.json').write_text('{"mIoU": 60.0}')
    winner = board.winner
    other = replace(winner, name='other')
    board.rows[other], pace.candidates['other'] = board.rows[winner], 1.0
    config, asked = run(other)
    assert config.load_from is not None
    assert [request.candidate.name for request, _ in asked] == ['small_unet', 'other']
    assert [path.name for path in (tmp_path / 'final').iterdir()] == ['winner.json']
    assert not (tmp_path / 'architecture.json').exists()
    assert (tmp_path / 'final_small_unet/test/test_scores.json').is_file()
    # The first one wins again, with more time left.
    board.lengths = replace(board.lengths, total=600.0)
    longer, _ = run(winner)
    assert longer.train_cfg.max_epochs > first.train_cfg.max_epochs
    assert not (tmp_path / 'final/test').exists()
    # A training in progress has the length with which it began.
    board.lengths = replace(board.lengths, total=900.0)
    assert run(winner)[0].train_cfg.max_epochs == longer.train_cfg.max_epochs
    run(other)
    names = {path.name for path in tmp_path.glob('final*')}
    assert names == {'final', 'final_small_unet', 'final_other', 'final_small_unet_2'}

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.selection import final_training
from dnas_mmseg.selection.algorithm import Request, Selection
from dnas_mmseg.selection.ensemble import (
    ensemble_config,
    merge_checkpoints,
    predict_probabilities,
    select_members,
)
from dnas_mmseg.selection.final_training import FinalTraining
from dnas_mmseg.selection.leaderboard import Leaderboard
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.queue import Outcome
from dnas_mmseg.selection.trainings import CandidateTrainings


def test_the_divisors_of_all_members_apply(candidates):
    family = candidates.families['small_unet']
    configs = [family.config(family.default) for _ in range(3)]
    for member, divisor in zip(configs, (16, 24, None), strict=True):
        preprocessor = member.model.data_preprocessor
        preprocessor.test_cfg = dict(size_divisor=divisor) if divisor else None
    config = ensemble_config(candidates.config, configs)
    assert config.model.data_preprocessor.test_cfg == dict(size_divisor=48)
    assert all('data_preprocessor' not in member for member in config.model.members)


def probabilities(rng, labels, errors):
    """Confident predictions that are wrong at some pixels."""
    wrong = np.isin(np.arange(len(labels)), errors)
    predicted = np.where(wrong, (labels + 1) % 3, labels)
    return np.eye(3)[predicted] * 0.6 + 0.4 / 3 + 0.001 * rng.random((len(labels), 3))


def test_members_complement_each_other(rng):
    labels = np.arange(300) % 3
    candidates = [
        probabilities(rng, labels, range(0, 60)),
        probabilities(rng, labels, range(10, 60)),  # the best; the first repeats its errors
        probabilities(rng, labels, range(100, 170)),
        probabilities(rng, labels, range(200, 280)),
    ]
    members, score = select_members(candidates, labels, 3)
    assert (members[0], sorted(members), score) == (1, [1, 2, 3], 100.0)
    single, best = select_members(candidates, labels, 1)
    assert single == [1]
    assert best < 75
    # A third member helps although the second does not: each is sure of one wrong pixel.
    truth = np.array([0, 0, 0, 1])
    votes = [np.array([[0.6, 0.4]] * 3 + [[0.4, 0.6]]) for _ in range(3)]
    for i, vote in enumerate(votes):
        vote[i] = [0.35, 0.65]
    pair, score = select_members(votes, truth, 2)
    assert (len(pair), round(score, 1)) == (1, 58.3)
    assert select_members(votes, truth, 3) == ([0, 1, 2], 100.0)
    # A copy does not increase the score.
    assert select_members([candidates[1], candidates[1]], labels, 2)[0] == [0]


@pytest.fixture
def finalists(candidates, tmp_path, rng):
    """Two trained candidates, their configs and checkpoints."""
    trainings = CandidateTrainings(candidates, tmp_path / 'run')
    chosen = [candidates.families['small_unet'].default, candidates.families['dnas'].random(rng)]
    configs, checkpoints = [], []
    for candidate in chosen:
        key = f'{candidate.name}-0-0'
        trainings.run(key, trainings.content(Request(candidate, 0, 0), [1], [1]))
        configs.append(trainings.with_lists(candidates.full_config(candidate)))
        checkpoints.append(trainings.folder_of(key) / 'rung_0/epoch_1.pth')
    return chosen, configs, checkpoints


def test_the_winner_enters_with_the_weights_of_its_further_training(
    candidates, finalists, pace, tmp_path, monkeypatch
):
    chosen, _, checkpoints = finalists
    board = Leaderboard(candidates, Lengths((1.0,), 2.0, 12.0, 0.1), {})
    scores = zip(chosen, (60.0, 50.0), strict=True)
    board.add([(Request(c, 0, 0), Outcome(score, metadata={})) for c, score in scores])
    board.decide(Selection(chosen[0], chosen[0], 60.0, 0, (), None, 2.0, (), {}, {}))
    further = load_weights(str(checkpoints[0]))
    further = {name: value + 1 for name, value in further.items()}
    final = tmp_path / 'run/final'
    final.mkdir()
    torch.save({'state_dict': further, 'meta': {}}, final / 'epoch_2.pth')
    (final / 'last_checkpoint').write_text('epoch_2.pth')
    monkeypatch.setattr(final_training, 'select_members', lambda *_: ([0, 1], 61.0))
    training = FinalTraining(
        CandidateTrainings(candidates, tmp_path / 'run'), tmp_path / 'run', pace
    )
    result = training.build_ensemble(board)
    assert (result.members, result.score) == (tuple(c.name for c in chosen), 61.0)
    merged = load_weights(str(tmp_path / 'run/ensemble.pth'))
    other = load_weights(str(checkpoints[1]))
    for i, weights in enumerate((further, other)):
        for name, value in weights.items():
            assert (
                name.startswith('data_preprocessor.')
                or (merged[f'members.{i}.{name}'] == value).all()
            )


def test_binary_heads_are_compared_at_their_threshold(candidates, tmp_path):
    config = candidates.full_config(candidates.initial[0])
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    config.model.decode_head.loss_decode = dict(type='LabelledCrossEntropyLoss', use_sigmoid=True)
    model = MODELS.build(config.model).eval()
    model.decode_head.conv_seg.weight.data *= 1000  # so that both classes are predicted
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'binary.pth')
    columns, _ = predict_probabilities(config, str(tmp_path / 'binary.pth'))
    assert columns[:, 0] == pytest.approx(0.3, abs=1e-3)
    expected = []
    for sample in DATASETS.build(config.val_dataloader.dataset):
        (result,) = model.test_step(pseudo_collate([sample]))
        label = sample['data_samples'].gt_sem_seg.data
        expected.append(result.pred_sem_seg.data[label < 255])
    expected = torch.cat(expected).numpy()
    assert 0.05 < expected.mean() < 0.95
    sure = np.abs(columns[:, 1] - columns[:, 0]) > 1e-3  # float16 may round others to a tie
    assert sure.mean() > 0.95
    assert (columns.argmax(1) == expected)[sure].all()


def test_an_ensemble_of_different_networks(finalists, candidates, tmp_path):
    _, configs, checkpoints = finalists
    predicted = [
        predict_probabilities(config, str(checkpoint))
        for config, checkpoint in zip(configs, checkpoints, strict=True)
    ]
    (first, labels), (second, again) = predicted
    assert (labels == again).all()
    assert first.shape == second.shape == (len(labels), 5)
    assert first.sum(1) == pytest.approx(1, abs=5e-3)
    config = ensemble_config(configs[0], configs)
    merge_checkpoints(checkpoints, tmp_path / 'ensemble.pth')
    model = MODELS.build(config.model)
    load_exactly(model, load_weights(tmp_path / 'ensemble.pth'), 'ensemble.pth')
    # The U-Net among the members requires sizes that are multiples of 16.
    assert config.model.data_preprocessor.test_cfg == dict(size_divisor=16)
    mean, _ = predict_probabilities(config, str(tmp_path / 'ensemble.pth'))
    expected = (first.astype(float) + second) / 2
    assert np.mean(mean.argmax(1) == expected.argmax(1)) > 0.98
    with torch.no_grad():
        data = dict(inputs=[torch.rand(4, 33, 50) * 255], data_samples=[SegDataSample()])
        data['data_samples'][0].set_metainfo(dict(ori_shape=(33, 50), img_shape=(33, 50)))
        (result,) = model.eval().test_step(data)
    assert result.pred_sem_seg.data.shape == (1, 33, 50)

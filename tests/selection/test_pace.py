import json
from dataclasses import replace

import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.selection.candidates import CandidateSet
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.pace import LinearPace, Pace, measure_pace
from dnas_mmseg.selection.trainings import CandidateTrainings

from ..conftest import ROOT


def test_linear_pace_fits_measurements():
    pace = LinearPace.fit([1e9, 2e9, 4e9], [0.02, 0.03, 0.05])
    assert (pace.fixed, pace.per_mac) == pytest.approx((0.01, 1e-11))
    assert pace.seconds(3e9) == pytest.approx(0.04)


@pytest.mark.parametrize('seconds', [[0.05, 0.03, 0.02], [0.001, 0.03, 0.2]])
def test_linear_pace_has_no_negative_part(seconds):
    pace = LinearPace.fit([1e9, 2e9, 4e9], seconds)
    assert pace.fixed >= 0
    assert pace.per_mac >= 0
    assert pace.seconds(1e8) > 0


def test_document(pace, candidates, tmp_path, rng):
    (tmp_path / 'pace.json').write_text(json.dumps(pace.to_document()))
    assert Pace.load(tmp_path / 'pace.json') == pace
    sampled = candidates.families['dnas'].random(rng)
    assert pace.epoch(sampled, 1e9) == pace.spaces['dnas'].seconds(1e9)
    with pytest.raises(KeyError):
        pace.epoch(candidates.families['small_unet'].random(rng), 1e9)
    for text in ('{"spaces": 1}', '[]', '{"spaces": {}, "candidates": {"a": "x"}}'):
        (tmp_path / 'other.json').write_text(text)
        with pytest.raises(UserError, match=r'other\.json is not a pace\.json of a selection'):
            Pace.load(tmp_path / 'other.json')


def test_measure_pace(plan, tmp_path):
    path = str(ROOT / 'configs/pspnet/pspnet_r18-d8_naip.py')
    candidates = CandidateSet(replace(plan, families=('dnas', path)))
    threads = torch.get_num_threads()
    pace = measure_pace(CandidateTrainings(candidates, tmp_path))
    assert torch.get_num_threads() == threads
    # Twelve million parameters compared with a few thousand.
    small = pace.spaces['dnas'].seconds(1e6)
    assert pace.candidates['pspnet_r18-d8_naip'] > 2 * small > 0
    assert pace.validations.keys() == {'dnas', 'pspnet_r18-d8_naip'}
    assert pace.schedule == pytest.approx(2 * pace.candidates['pspnet_r18-d8_naip'])
    # The config of the selection still has the whole training list.
    assert candidates.config.train_dataloader.dataset.ann_file == 'train.txt'


def test_a_family_that_cannot_be_trained_is_excluded(candidates, tmp_path, monkeypatch):
    family = candidates.families['small_unet']
    config = family.config(family.default)
    config.model.data_preprocessor.size_divisor = 7
    monkeypatch.setattr(family, 'config', lambda candidate: config.copy())
    pace = measure_pace(CandidateTrainings(candidates, tmp_path))
    assert list(candidates.families) == ['dnas']
    assert 'small_unet' not in pace.candidates
    assert 'small_unet' in candidates.excluded
    assert {c.family for c in candidates.initial} <= {'dnas'}


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ("load_from = 'gone.pth'", 'gone.pth: no such file'),
        (
            "model = dict(init_cfg=dict(type='Pretrained', checkpoint='gone.pth'))",
            'gone.pth: no such file',
        ),
    ],
)
def test_a_family_without_its_weights_is_excluded(
    plan, plain_unet, tmp_path, setting, message, monkeypatch
):
    """Before the first training, and not with a seat of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'pretrained.py'
    path.write_text(f"_base_ = '{plain_unet}'\n{setting}\n")
    candidates = CandidateSet(replace(plan, families=(str(plain_unet), str(path))))
    measure_pace(CandidateTrainings(candidates, tmp_path))
    assert list(candidates.families) == ['small_unet']
    assert message in candidates.excluded['pretrained']
    assert [c.family for c in candidates.initial] == ['small_unet']


def test_the_users_own_network_must_be_trainable(plan, tiny, tmp_path):
    tiny.write_text(f"{tiny.read_text()}load_from = '{tmp_path}/gone.pth'\n")
    candidates = CandidateSet(replace(plan, families=(), layers=None))
    with pytest.raises(UserError, match=r'gone\.pth: no such file'):
        measure_pace(CandidateTrainings(candidates, tmp_path))


def test_rungs(pace, candidates):
    candidate = candidates.families['small_unet'].default  # an epoch takes a second
    pace.lengths = Lengths((0.4, 1.3, 60.0), 3.0, 300.0, 0.1)
    # Validations of 0.1 s take at most a tenth of a rung; each rung has an epoch of its own.
    assert pace.rungs(candidate, 1e6, 2) == ([1, 2, 60], [1, 1, 3])
    pace.validations['small_unet'] = 3.0
    assert pace.rungs(candidate, 1e6, 2) == ([1, 2, 60], [1, 1, 1])
    assert pace.rungs(candidate, 1e6, 0) == ([1], [1])


def test_least_training(pace):
    pace.iterations = 32
    assert pace.least_training() == pytest.approx(400 / 32)  # epochs of a second
    pace.candidates.clear()
    pace.sampled = {'dnas': 3.0}
    assert pace.least_training() == pytest.approx(3 * 400 / 32)

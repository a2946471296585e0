import copy
import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from dnas_mmseg import files
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.engine.checkpoints import tensor_checksum
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.files import FolderInUseError, lock_folder
from dnas_mmseg.raster import read_raster, write_raster
from dnas_mmseg.selection.algorithm import Request
from dnas_mmseg.selection.candidates import CandidateSet
from dnas_mmseg.selection.trainings import (
    CandidateTrainings,
    config_checksum,
    data_checksum,
    set_average,
    set_loaders,
)

from ..conftest import ROOT


@pytest.fixture
def trainings(candidates, tmp_path):
    return CandidateTrainings(candidates, tmp_path / 'run')


@pytest.fixture
def content(candidates, trainings):
    candidate = candidates.families['small_unet'].default
    return trainings.content(Request(candidate, 0, 0), epochs=[1], validations=[1])


def test_a_promotion_starts_from_the_weights_of_the_rung_below(trainings, content):
    assert json.loads(json.dumps(content)) == content
    folder, steps = trainings.folder / 'net-0', []
    content |= {'epochs': [1, 2, 4], 'validations': [1, 1, 2]}
    for rung, epochs in enumerate((1, 2, 4)):
        score, facts = trainings.run(f'net-{rung}-0', content)
        assert facts['epochs'] == epochs
        steps.append(facts['steps'])
        # Only the last rung keeps its checkpoint.
        (checkpoint,) = folder.glob('*/*.pth')
        assert checkpoint.parent.name == f'rung_{rung}'
        log = next((folder / f'rung_{rung}').glob('*/*.log')).read_text()
        below = folder / f'rung_{rung - 1}/epoch_1.pth'
        assert (f'Load checkpoint from {below}' in log) is (rung > 0)
    assert steps == [steps[0], 2 * steps[0], 4 * steps[0]]
    assert [epoch for epoch, _ in facts['curve']] == [1, 2, 3, 4]
    assert facts['curve'][-1][1] == score
    # Another machine, which lacks the rungs below, repeats them with the same result.
    assert trainings.run('other-2-0', content)[0] == score
    weights = [
        torch.load(trainings.folder / name / 'rung_2/epoch_2.pth', weights_only=True)
        for name in ('net-0', 'other-0')
    ]
    for key in ('state_dict', 'ema_state_dict'):
        first, second = (w[key] for w in weights)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_missing_checkpoint_is_trained_again(trainings, content, candidates):
    candidate = candidates.families['small_unet'].default
    request = Request(candidate, 1, 0)
    content |= {'epochs': [1, 2], 'validations': [1, 1]}
    score, _ = trainings.run('small_unet-1-0', content)
    checkpoint = trainings.checkpoint(request)
    assert checkpoint == trainings.ensure_checkpoint(request, content)
    assert trainings.checkpoint(Request(candidate, 0, 0)) is None  # only that of the last rung
    before = tensor_checksum(torch.load(checkpoint, weights_only=True))
    trainings.discard('small_unet-1-0')
    assert trainings.checkpoint(request) is None
    assert trainings.ensure_checkpoint(request, content) == checkpoint
    assert tensor_checksum(torch.load(checkpoint, weights_only=True)) == before
    assert trainings.run('small_unet-1-0', content)[0] == score
    # Another machine finished the rung that this one began: its checkpoint is not the result.
    (checkpoint.parents[1] / 'rung_1.json').unlink()
    assert trainings.checkpoint(request) is None


def test_a_damaged_checkpoint_is_not_used(trainings, content, capsys):
    content |= {'epochs': [1, 2], 'validations': [1, 1]}
    trainings.run('net-0-0', content)
    first = trainings.folder / 'net-0/rung_0/epoch_1.pth'
    expected = trainings.run('other-1-0', content)[0]
    damaged = trainings.folder / 'net-0/rung_1/epoch_1.pth'
    damaged.parent.mkdir()
    damaged.write_bytes(b'PK')
    (damaged.parent / 'last_checkpoint').write_text('epoch_1.pth')
    config = trainings.config('net-1-0', content, 1)
    assert f'warning: {damaged}' in capsys.readouterr().err
    assert (config.resume, config.load_from) == (False, str(first))
    first.write_bytes(first.read_bytes()[:-100])
    assert trainings.run('net-1-0', content)[0] == expected  # both rungs are repeated


def test_seconds_include_repeated_rungs(trainings, content, monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr('dnas_mmseg.selection.trainings.time.process_time', lambda: next(now))
    content |= {'epochs': [1, 2, 3], 'validations': [1, 1, 1]}
    _, facts = trainings.run('net-2-1', content)
    assert facts['cpu_seconds'] == 3


def test_a_finished_rung_is_not_repeated(trainings, content):
    first = trainings.run('net-0-0', content)
    written = (trainings.folder / 'net-0/rung_0.json').read_text()
    again = trainings.run('net-0-0', content)
    assert again == (first[0], json.loads(json.dumps(first[1])))
    assert (trainings.folder / 'net-0/rung_0.json').read_text() == written
    trainings.discard('net-0-0')
    assert not list((trainings.folder / 'net-0').glob('*/*.pth'))


def test_repeats_have_another_split(trainings, content):
    first, other = trainings.lists(0), trainings.lists(1)
    assert first[1].read_text() != other[1].read_text()
    tiles = [sorted(''.join(p.read_text() for p in pair).splitlines()) for pair in (first, other)]
    assert tiles[0] == tiles[1]
    config = trainings.config('net-0-1', {**content, 'seed': 1}, 0)
    assert config.val_dataloader.dataset.ann_file == str(other[1])
    assert config.randomness.seed == 1


def test_candidates_are_scored_on_a_separate_validation_list(tiny, plan, content, tmp_path):
    root = tmp_path / 'data'
    tiles = (root / 'train.txt').read_text().splitlines(keepends=True)
    (root / 'train.txt').write_text(''.join(tiles[4:]))
    (root / 'val.txt').write_text(''.join(tiles[:4]))
    trainings = CandidateTrainings(CandidateSet(plan), tmp_path / 'run')
    config = trainings.config('net-0-0', content, 0)
    found = [DATASETS.build(config[f'{split}_dataloader'].dataset) for split in ('train', 'val')]
    assert [len(dataset) for dataset in found] == [8, 4]
    before = data_checksum(config, tmp_path)
    # Lists that change later do not change those of the selection, for repeats neither.
    (root / 'val.txt').write_text(''.join(tiles[:6]))
    again = CandidateTrainings(CandidateSet(plan), tmp_path / 'run')
    assert again.lists(1) == trainings.lists(0)
    assert again.validation_problem is not None  # it now shares tiles with the training list
    assert again.scores_on_validation
    assert data_checksum(again.config('net-0-0', content, 0), tmp_path) == before
    # The boundary between both lists counts.
    (root / 'train.txt').write_text(''.join(tiles[4:-1]))
    (root / 'val.txt').write_text(''.join(tiles[-1:] + tiles[:4]))
    other = CandidateTrainings(CandidateSet(plan), tmp_path / 'other')
    assert data_checksum(other.config('net-0-0', content, 0), tmp_path) != before


def test_a_selection_that_held_tiles_out_goes_on_so(trainings, tiny, plan, tmp_path):
    root = tmp_path / 'data'
    first = trainings.lists(0)
    tiles = (root / 'train.txt').read_text().splitlines(keepends=True)
    (root / 'train.txt').write_text(''.join(tiles[4:]))
    (root / 'val.txt').write_text(''.join(tiles[:4]))
    again = CandidateTrainings(CandidateSet(plan), tmp_path / 'run')
    assert again.validation_problem is None
    assert again.lists(0) == first
    assert again.lists(1) != first
    assert not again.scores_on_validation


def test_error_for_a_nan_score(trainings, content, monkeypatch):
    from dnas_mmseg.selection import trainings as module

    nan = SimpleNamespace(current=lambda: float('nan'))
    runner = SimpleNamespace(iter=3, message_hub=SimpleNamespace(log_scalars={'val/mIoU': nan}))
    monkeypatch.setattr(module, 'train', lambda config, lock: runner)
    with pytest.raises(ValueError, match='mIoU is nan'):
        trainings.run('net-0-0', content)
    assert not list(trainings.folder.glob('net-0/rung_*.json'))


@pytest.mark.parametrize('key', ['../../../victim', '/tmp/victim-0-0', '.-0-0', 'a/../b-0-0', 'a'])
def test_invalid_keys(trainings, content, key, tmp_path):
    victim = tmp_path / 'victim'
    victim.mkdir()
    (victim / 'best.pth').touch()
    with pytest.raises(ValueError, match='is not the key of a training'):
        trainings.run(key, content)
    trainings.discard(key)
    assert (victim / 'best.pth').is_file()


def test_training_locked_by_another_process(trainings, content, monkeypatch):
    """A worker that was considered dead may finish the training."""
    monkeypatch.setattr(files, '_LOCK_TIMEOUT', 0.1)
    folder = trainings.folder / 'net-3'
    with lock_folder(folder):
        (folder / 'epoch_1.pth').write_bytes(b'its checkpoint')
        with pytest.raises(FolderInUseError):
            trainings.run('net-1-3', content)
        assert (folder / 'epoch_1.pth').is_file()
        (folder / 'rung_1.json').write_text('{"score": 61.5, "facts": {}}')
    assert trainings.run('net-1-3', content) == (61.5, {})


def test_config_of_a_training(trainings, content):
    config = trainings.config('net-0-0', {**content, 'epochs': [6], 'validations': [3]}, 0)
    train, scored = trainings.lists()
    assert config.train_dataloader.dataset.ann_file == str(train)
    assert config.val_dataloader.dataset.ann_file == str(scored)
    assert config.test_dataloader is None
    assert config.randomness.seed == 0
    assert not config.resume
    assert (config.train_cfg.max_epochs, config.train_cfg.val_interval) == (6, 2)
    warm_up, decay = config.param_scheduler
    assert (warm_up.type, warm_up.end) == ('LinearLR', round(150 * 6 / 28))
    assert decay.type == 'PolyLR'
    content |= {'epochs': [1, 13], 'validations': [1, 1]}
    with pytest.raises(FileNotFoundError, match='rung_0 has no checkpoint'):
        trainings.config('net-1-0', content, 1)
    trainings.run('net-0-0', content)
    longer = trainings.config('net-1-0', content, 1)
    assert longer.load_from == str(trainings.folder / 'net-0/rung_0/epoch_1.pth')
    assert (longer.train_cfg.max_epochs, longer.train_cfg.val_interval) == (12, 12)
    assert longer.param_scheduler[0].end == round(150 * 12 / 28)
    assert longer.randomness.seed != config.randomness.seed
    assert [hook.type for hook in config.custom_hooks].count('EMAHook') == 1


def test_loaders_on_a_cpu_run_in_the_process_of_the_training(trainings, content, monkeypatch):
    config = trainings.config('net-0-0', content, 0)
    config.train_dataloader.update(
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=4,
        timeout=60,
        multiprocessing_context='spawn',
    )
    on_gpu = copy.deepcopy(config)
    set_loaders(config)
    loader = Runner.build_dataloader(config.train_dataloader)
    assert loader.num_workers == 0
    monkeypatch.setattr('dnas_mmseg.selection.trainings.get_device', lambda: 'cuda')
    set_loaders(on_gpu)
    assert on_gpu.train_dataloader.num_workers == 2
    assert on_gpu.train_dataloader.prefetch_factor == 4


def test_hooks_of_exact_resuming_are_set(trainings, content, candidates, monkeypatch):
    """Also where the user's config has mmseg's own."""
    family = candidates.families['small_unet']
    stock = family.config(family.default)
    stock.default_hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='mIoU'))
    stock.train_cfg.dynamic_intervals = [(2, 1)]
    stock.custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU')]
    monkeypatch.setattr(family, 'config', lambda candidate: stock.copy())
    config = trainings.config('net-0-0', content, 0)
    kinds = {hook['type'] for hook in config.default_hooks.values()}
    assert kinds == {
        'AtomicCheckpointHook', 'EpochSeedHook', 'FiniteLossHook', 'ValidateOnResumeHook'
    }  # fmt: skip
    assert 'dynamic_intervals' not in config.train_cfg
    assert [hook.type for hook in config.custom_hooks] == ['EMAHook']
    assert trainings.run('net-0-0', content)[1]['epochs'] == 1


def test_a_config_without_a_visualizer(tiny, plan, content, tmp_path):
    """mmengine has a default one."""
    tiny.write_text(f'{tiny.read_text()}visualizer = None\n')
    trainings = CandidateTrainings(CandidateSet(plan), tmp_path / 'run')
    config = trainings.config('net-0-0', content, 0)
    assert config.visualizer.name == str(trainings.folder / 'net-0/rung_0')
    assert trainings.run('net-0-0', content)[1]['epochs'] == 1


@pytest.mark.parametrize(
    'name', ['dnas/dnas_l14_gid5.py', 'pspnet/pspnet_r50-d8_gid5.py', 'unet/unet_lite0_naip.py']
)
def test_weights_are_averaged(name):
    """Also those of recipes without an average; one of their own is replaced."""
    config = load_config(ROOT / 'configs' / name)
    set_average(config)
    config.custom_hooks += [dict(type='mmengine.EMAHook'), dict(type=EMAHook)]
    set_average(config)
    (hook,) = [hook for hook in config.custom_hooks if hook['type'] == 'EMAHook']
    assert hook['ema_type'] == 'ForeachMomentumAnnealingEMA'


def test_checksums_of_data_and_config(trainings, tiny, plan, tmp_path):
    def config():
        return trainings.with_lists(Config.fromfile(str(tiny)))

    def checksums():
        return data_checksum(config(), tmp_path), config_checksum(CandidateSet(plan))

    before = checksums()
    assert before == checksums()
    names = [line.split('\t')[0] for line in trainings.lists()[0].read_text().splitlines()]
    first, second = (tmp_path / 'data' / name for name in names[:2])
    original = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert data_checksum(config(), tmp_path) != before[0]
    first.write_bytes(original)
    assert data_checksum(config(), tmp_path) == before[0]
    for name in names:  # every tile counts
        tile = tmp_path / 'data' / name
        content, samples = tile.read_bytes(), read_raster(tile)
        samples[0, 0, 0] ^= 1
        write_raster(tile, samples, names=BANDS)
        assert data_checksum(config(), tmp_path) != before[0]
        tile.write_bytes(content)
    tiny.write_text(tiny.read_text() + '\noptim_wrapper = dict(optimizer=dict(lr=0.5))\n')
    assert config_checksum(CandidateSet(plan)) != before[1]

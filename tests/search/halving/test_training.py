import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg import files
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.files import FolderInUseError, lock_folder
from dnas_mmseg.raster import read_raster, write_raster
from dnas_mmseg.search.halving.networks import SpaceCandidates
from dnas_mmseg.search.halving.split import selection_lists
from dnas_mmseg.search.halving.training import CandidateTrainings, config_checksum, data_checksum
from dnas_mmseg.search.selection import Request


@pytest.fixture
def trainings(plan, tiny, tmp_path):
    lists = selection_lists(Config.fromfile(str(tiny)), 0, tmp_path)
    return CandidateTrainings(plan, [], tmp_path / 'run', lists)


@pytest.fixture
def content(plan, trainings):
    network = SpaceCandidates(plan).random(np.random.default_rng(0))
    return trainings.content(Request(network, 1, 3), epochs=2)


def test_training_is_not_repeated(trainings, content):
    assert json.loads(json.dumps(content)) == content
    assert content['seed'] == 3
    score, facts = trainings.run('net-1-3', content)
    assert 0 <= score <= 100
    assert facts['epochs'] == 2
    folder = trainings.folder / 'net-1-3'
    assert not list(folder.glob('*.pth'))
    written = (folder / 'result.json').read_text()
    assert trainings.run('net-1-3', content) == (score, facts)
    assert (folder / 'result.json').read_text() == written
    # The same training in another folder is bit-identical.
    assert trainings.run('again-1-3', content)[0] == score


def test_error_for_a_nan_score(trainings, content, monkeypatch):
    from dnas_mmseg.search.halving import training

    nan = SimpleNamespace(current=lambda: float('nan'))
    runner = SimpleNamespace(message_hub=SimpleNamespace(log_scalars={'val/mIoU': nan}))
    monkeypatch.setattr(training, 'train', lambda config, lock: runner)
    with pytest.raises(ValueError, match='mIoU is nan'):
        trainings.run('net-1-3', content)
    assert not (trainings.folder / 'net-1-3' / 'result.json').exists()


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
    folder = trainings.folder / 'net-1-3'
    with lock_folder(folder):
        (folder / 'epoch_1.pth').write_bytes(b'its checkpoint')
        with pytest.raises(FolderInUseError):
            trainings.run('net-1-3', content)
        assert (folder / 'epoch_1.pth').is_file()
        (folder / 'result.json').write_text('{"score": 61.5, "facts": {}}')
    assert trainings.run('net-1-3', content) == (61.5, {})


def test_config_uses_the_lists_of_the_selection(trainings, content):
    config = trainings.config('net-1-3', content)
    train, scored = trainings.lists
    assert config.train_dataloader.dataset.ann_file == str(train)
    assert config.val_dataloader.dataset.ann_file == str(scored)
    assert config.test_dataloader is None
    assert config.randomness.seed == 3
    assert not config.resume


def test_checksums_of_data_and_config(trainings, tiny, plan, tmp_path):
    config = Config.fromfile(str(tiny))
    before = data_checksum(config, trainings.lists, tmp_path), config_checksum(trainings)
    assert before == (data_checksum(config, trainings.lists, tmp_path), config_checksum(trainings))
    first, second = (
        tmp_path / 'data' / line.split('\t')[0]
        for line in trainings.lists[0].read_text().splitlines()[:2]
    )
    original = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert data_checksum(config, trainings.lists, tmp_path) != before[0]
    first.write_bytes(original)
    assert data_checksum(config, trainings.lists, tmp_path) == before[0]
    for line in trainings.lists[0].read_text().splitlines():  # every tile counts
        tile = tmp_path / 'data' / line.split('\t')[0]
        content, samples = tile.read_bytes(), read_raster(tile)
        samples[0, 0, 0] ^= 1
        write_raster(tile, samples, names=BANDS)
        assert data_checksum(config, trainings.lists, tmp_path) != before[0]
        tile.write_bytes(content)
    tiny.write_text(tiny.read_text() + '\noptim_wrapper = dict(optimizer=dict(lr=0.5))\n')
    assert config_checksum(trainings) != before[1]

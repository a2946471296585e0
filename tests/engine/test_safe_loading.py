import pickle
import shutil

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader

from dnas_mmseg.engine import MultiBandPretrained
from dnas_mmseg.engine.checkpoints import CheckpointError


class Evil:
    def __reduce__(self):
        return (print, ('ran',))


class Reach:
    def __reduce__(self):
        return (getattr, (HistoryBuffer, '__init__'))


def test_runner_and_author_checkpoints_are_read(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(history=history, best_pred=np.float64(0.91), weights=torch.ones(3))
    torch.save(content, tmp_path / 'c.pth')
    loaded = torch.load(tmp_path / 'c.pth', weights_only=True)
    assert loaded['best_pred'] == 0.91
    assert loaded['history'].mean() == 1.5


@pytest.mark.parametrize('content', [Evil(), Reach()])
def test_other_objects_are_refused(tmp_path, content):
    torch.save(dict(state_dict=content), tmp_path / 'c.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'c.pth', weights_only=True)


@pytest.mark.parametrize('layers', [12, 14])
def test_files_of_numpy_1_and_2(shared, layers):
    checkpoint = torch.load(
        shared / f'reference/retrain_l{layers}_b8.pth.tar', weights_only=True, map_location='cpu'
    )
    assert isinstance(checkpoint['best_pred'], np.float64)


class Mark:
    """A malicious pickle that creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, 'w'))


@pytest.fixture
def mark(tmp_path):
    torch.save(
        dict(state_dict={'weight': torch.ones(1)}, more=Mark(tmp_path / 'm')), tmp_path / 'c'
    )
    return tmp_path / 'c', tmp_path / 'm'


def test_mmengine_runs_no_code_of_a_file(mark):
    """``load_from``, ``resume`` and ``Pretrained`` use this loader, whose fallback unpickles."""
    path, left = mark
    with pytest.raises(CheckpointError, match=r'is refused: it contains (_io|io)\.open'):
        CheckpointLoader.load_checkpoint(str(path))
    with pytest.raises(CheckpointError, match='is refused'):
        PretrainedInit(str(path))(torch.nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match='is refused'):
        MultiBandPretrained(str(path), bands=('red',))(torch.nn.Conv2d(1, 1, 1))
    assert not left.exists()


def test_downloads_run_no_code(mark, tmp_path, monkeypatch):
    path, left = mark
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    address = path.as_uri()  # urllib also reads files
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda url, target: shutil.copy(path, target)
    )
    for name in (address.replace('file://', 'http://host'), 'open-mmlab://resnet50_v1c'):
        with pytest.raises(CheckpointError, match='is refused'):
            CheckpointLoader.load_checkpoint(name)
    with pytest.raises(CheckpointError, match='download the file and use its local path'):
        CheckpointLoader.load_checkpoint('s3://bucket/c.pth')
    assert not left.exists()


def test_files_of_one_name_at_two_addresses(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    downloads = []

    def download(url, target):
        downloads.append(url)
        torch.save({'state_dict': {'x': torch.tensor(len(downloads))}}, target)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)

    def load(address):
        return int(CheckpointLoader.load_checkpoint(address)['state_dict']['x'])

    assert [load(f'https://host/{folder}/model.bin') for folder in 'aba'] == [1, 2, 1]
    assert load('https://host/a/resnet18-f37072fd.pth') == 3
    assert load('https://mirror/resnet18-f37072fd.pth') == 3  # equal by its hash
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(CheckpointError, match='no such file'):
        load('https://host/other.pth')


def test_unknown_models_raise_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with pytest.raises(CheckpointError, match=r'did you mean resnet50_v1c'):
        CheckpointLoader.load_checkpoint('open-mmlab://resnet50_v1x')

    def unreachable(url, target):
        raise OSError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    with pytest.raises(CheckpointError, match=r'cannot be downloaded .*: use a local file'):
        CheckpointLoader.load_checkpoint('open-mmlab://resnet50_v1c')

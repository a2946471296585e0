import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer


class Evil:
    def __reduce__(self):
        return (print, ('ran',))


class Reach:
    def __reduce__(self):
        return (getattr, (HistoryBuffer, '__init__'))


def test_runner_and_authors_content_is_read(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(history=history, best_pred=np.float64(0.91), weights=torch.ones(3))
    torch.save(content, tmp_path / 'c.pth')
    loaded = torch.load(tmp_path / 'c.pth', weights_only=True)
    assert loaded['best_pred'] == 0.91
    assert loaded['history'].mean() == 1.5


@pytest.mark.parametrize('content', [Evil(), Reach()])
def test_anything_else_is_still_refused(tmp_path, content):
    torch.save(dict(state_dict=content), tmp_path / 'c.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'c.pth', weights_only=True)


@pytest.mark.parametrize('layers', [12, 14])
def test_files_of_both_numpy_generations(shared, layers):
    checkpoint = torch.load(
        shared / f'reference/retrain_l{layers}_b8.pth.tar', weights_only=True, map_location='cpu'
    )
    assert isinstance(checkpoint['best_pred'], np.float64)

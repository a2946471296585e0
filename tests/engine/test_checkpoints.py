import pickle

import pytest
import torch

from dnas_mmseg.apis import CheckpointError
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.spaces.dnas.network import DNAS


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r'no\.pth: no such file'):
        load_weights(tmp_path / 'no.pth')
    (tmp_path / 'text.pth').write_text('weights')
    with pytest.raises(CheckpointError, match=r'text\.pth is no checkpoint, or a damaged one'):
        load_weights(tmp_path / 'text.pth')
    torch.save({'state_dict': {'a': torch.ones(3)}}, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'cut\.pth is no checkpoint'):
        load_weights(tmp_path / 'cut.pth')
    torch.save({'state_dict': print}, tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match=r'evil\.pth is refused: it holds print'):
        load_weights(tmp_path / 'evil.pth')
    (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(test_loading_exactly))
    with pytest.raises(CheckpointError, match=r'plain\.pkl is'):
        load_weights(tmp_path / 'plain.pkl')
    for content in ([1, 2], torch.ones(2), {'state_dict': [1]}, {'state_dict': {}}, {'a': 1}):
        torch.save(content, tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match='holds no state_dict'):
            load_weights(tmp_path / 'other.pth')


def test_loading_exactly():
    model, other = (DNAS('dnas_l12_gid5', base_channels=b) for b in (2, 4))
    load_exactly(model, model.state_dict(), 'itself')
    load_exactly(model, DNAS('dnas_l12_gid5', base_channels=2, prune=False).state_dict(), 'whole')
    with pytest.raises(CheckpointError, match='wide does not fit the model'):
        load_exactly(model, other.state_dict(), 'wide')
    weights = model.state_dict()
    weights['head.weight'] = weights.pop('stem.0.0.weight')
    with pytest.raises(
        CheckpointError, match=r'1 tensors are missing \(stem\.0\.0\.weight\), 1 ten'
    ):
        load_exactly(model, weights, 'odd')

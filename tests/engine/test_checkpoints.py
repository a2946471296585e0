import json
import pickle

import pytest
import torch

from dnas_mmseg.apis import CheckpointError
from dnas_mmseg.engine.checkpoints import (
    find_checkpoint,
    load_exactly,
    load_weights,
    load_weights_and_meta,
)
from dnas_mmseg.spaces.dnas.network import DNAS


def test_invalid_files_raise_errors(tmp_path):
    with pytest.raises(CheckpointError, match=r'no\.pth: no such file'):
        load_weights(tmp_path / 'no.pth')
    (tmp_path / 'text.pth').write_text('weights')
    with pytest.raises(CheckpointError, match=r'text\.pth is not a checkpoint, or it is damaged'):
        load_weights(tmp_path / 'text.pth')
    torch.save({'state_dict': {'a': torch.ones(3)}}, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'cut\.pth is not a checkpoint'):
        load_weights(tmp_path / 'cut.pth')
    torch.save({'state_dict': print}, tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match=r'evil\.pth is refused: it contains print'):
        load_weights(tmp_path / 'evil.pth')
    (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(test_strict_loading))
    with pytest.raises(CheckpointError, match=r'plain\.pkl is'):
        load_weights(tmp_path / 'plain.pkl')
    for content in ([1, 2], torch.ones(2), {'state_dict': [1]}, {'state_dict': {}}, {'a': 1}):
        torch.save(content, tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match='contains no state_dict'):
            load_weights(tmp_path / 'other.pth')


def test_strict_loading():
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


def test_weights_are_loaded_with_training_set_metadata(tmp_path):
    """The prefix of a distributed wrapper is removed."""
    weights, data = {'a': torch.ones(3), 'b.module.c': torch.zeros(2)}, {'classes': ['x', 'y']}
    for prefix, content in (('', {}), ('module.', {'meta': {'dataset_meta': data}})):
        state = {prefix + key: value for key, value in weights.items()}
        torch.save({'state_dict': state, **content}, tmp_path / 'c.pth')
        loaded, meta = load_weights_and_meta(tmp_path / 'c.pth')
        assert list(loaded) == ['a', 'b.module.c']
        assert all(torch.equal(loaded[key], value) for key, value in weights.items())
        assert meta == (data if content else {})
    torch.save(weights, tmp_path / 'bare.pth')
    assert load_weights_and_meta(tmp_path / 'bare.pth')[0].keys() == weights.keys()


@pytest.mark.parametrize(('last', 'expected'), [(88.0, 'epoch_9.pth'), (85.9, 'best.pth')])
def test_a_work_dir_stands_for_its_best_checkpoint_if_training_made_it_worse(
    tmp_path, last, expected
):
    for name in ('best.pth', 'epoch_9.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').write_text('epoch_9.pth')
    scores = dict(last=last, best=88.0, checkpoint='best.pth')
    (tmp_path / 'validation.json').write_text(json.dumps(scores))
    assert find_checkpoint(tmp_path) == tmp_path / expected
    (tmp_path / 'best.pth').unlink()
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_9.pth'

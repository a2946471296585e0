import pytest
import torch

from dnas_mmseg.apis import CheckpointError, from_authors, to_authors
from dnas_mmseg.engine.checkpoints import load_weights
from dnas_mmseg.spaces.registry import load_architecture


@pytest.mark.parametrize('layers', [12, 14])
def test_round_trip(shared, layers):
    architecture = load_architecture(f'dnas_l{layers}_gid5')
    authors = load_weights(shared / f'reference/retrain_l{layers}_b8.pth.tar')
    ours = from_authors(authors, architecture, prune=False)
    assert ours.dropped == ()
    back = to_authors(ours.state_dict, architecture).state_dict
    assert back.keys() == authors.keys()
    assert all(torch.equal(back[key], authors[key]) for key in authors)


def test_dead_cells_are_dropped_and_reported(shared):
    architecture = load_architecture('dnas_l12_gid5')
    authors = load_weights(shared / 'reference/retrain_l12_b8.pth.tar')
    conversion = from_authors(authors, architecture)
    assert conversion.dropped == ('stem -> (8,0)', '(8,1) -> (9,1)')
    dead = [k for k in authors if k.startswith(('cells.8.0.[-1  0]', 'cells.9.1.[8 1]'))]
    assert len(conversion.state_dict) == len(authors) - len(dead)


def test_other_architectures_raise_with_the_differences(shared):
    authors = load_weights(shared / 'reference/retrain_l12_b8.pth.tar')
    with pytest.raises(
        CheckpointError, match=r'than dnas_l14_gid5: it has 12 layers and 64 edges; only in the ch'
    ):
        from_authors(authors, load_architecture('dnas_l14_gid5'))
    with pytest.raises(CheckpointError, match=r"no cells under .*first key is 'conv1\.weight'"):
        from_authors({'conv1.weight': torch.ones(1)}, load_architecture('dnas_l12_gid5'))


def replaced(architecture, old, new):
    """The architecture with an operation replaced in all nodes without the new one."""
    document = architecture.to_document()
    for row in document['nodes']:
        if new not in row['operations']:
            row['operations'] = [new if name == old else name for name in row['operations']]
    return load_architecture(document)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('conv3x3', 'conv1x1'),
        ('sep_conv_3x3', 'sep_conv_5x5'),
        ('sep_conv_5x5', 'conv3x3'),
        ('max_pool_3x3', 'conv1x1'),
    ],
)
def test_other_operations_on_the_same_edges_raise(shared, old, new):
    authors = load_weights(shared / 'reference/retrain_l14_b8.pth.tar')
    other = replaced(load_architecture('dnas_l14_gid5'), old, new)
    assert other != load_architecture('dnas_l14_gid5')
    with pytest.raises(CheckpointError, match=r'operations differ on \d+'):
        from_authors(authors, other)


def test_incomplete_checkpoints_raise(shared):
    architecture = load_architecture('dnas_l12_gid5')
    authors = load_weights(shared / 'reference/retrain_l12_b8.pth.tar')
    headless = {key: value for key, value in authors.items() if 'last_conv' not in key}
    with pytest.raises(CheckpointError, match='stem or head differ; 12 tensors are missing'):
        from_authors(headless, architecture)
    part = {key: value for key, value in authors.items() if '._ops.1.' not in key}
    with pytest.raises(CheckpointError, match=r'operations differ on 64'):
        from_authors(part, architecture)
    with pytest.raises(CheckpointError, match='no checkpoint of dnas_l12_gid5 with DNASHead'):
        to_authors({'backbone.conv1.weight': torch.ones(1)}, architecture)

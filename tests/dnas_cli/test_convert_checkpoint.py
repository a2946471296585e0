"""Command `dnas convert-checkpoint`."""

import torch

from ..conftest import ROOT, run


def test_checkpoints_are_converted_in_both_directions(shared, tmp_path):
    tool = ROOT / 'tools/model_converters/dnas_checkpoint.py'
    source = shared / 'reference/retrain_l14_b8.pth.tar'
    code, output = run(tool, source, tmp_path / 'a.pth', '--architecture', 'dnas_l14_gid5')
    assert code == 0, output
    assert output.count('dropped, does not affect the output') == 6
    code, output = run(tool, source, tmp_path / 'whole.pth', '--keep-dead')
    assert code == 0, output
    code, output = run(tool, tmp_path / 'whole.pth', tmp_path / 'back.pth.tar', '--reverse')
    assert code == 0, output
    back = torch.load(tmp_path / 'back.pth.tar', weights_only=True)['state_dict']
    theirs = torch.load(source, weights_only=True)['state_dict']
    assert back.keys() == theirs.keys()
    code, output = run(tool, tmp_path / 'a.pth', tmp_path / 'live.pth.tar', '--reverse')
    assert code == 0, output
    assert output.count('missing, does not affect the output') == 6
    assert 'strict=False' in output
    code, output = run(tool, tmp_path / 'live.pth.tar', tmp_path / 'again.pth')
    assert code == 0, output
    again, first = (
        torch.load(tmp_path / name, weights_only=True)['state_dict']
        for name in ('again.pth', 'a.pth')
    )
    assert again.keys() == first.keys()
    assert all(torch.equal(again[key], first[key]) for key in first)
    code, output = run(tool, source, tmp_path / 'b.pth', '--architecture', 'dnas_l12_gid5')
    assert code == 1
    assert 'error: the checkpoint is of another architecture than dnas_l12_gid5' in output
    assert not (tmp_path / 'b.pth').exists()

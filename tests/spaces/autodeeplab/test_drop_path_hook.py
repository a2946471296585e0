from types import SimpleNamespace

import pytest
import torch
from mmcv.cnn.bricks.drop import drop_path
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.autodeeplab.drop_path_hook import ScheduledDropPathHook
from dnas_mmseg.spaces.autodeeplab.network import AutoDeepLab, drop_branch
from dnas_mmseg.spaces.autodeeplab.supernet import AutoDeepLabSupernet


def runner(backbone, iteration=0):
    model = nn.Module()
    model.backbone = backbone
    return SimpleNamespace(model=model, iter=iteration, max_iters=10)


def rates(net):
    return [float(cell.drop) for cell in net.cells]


def test_the_drop_rate_increases_with_iterations_and_depth():
    net = AutoDeepLab(filters=2, drop_path=0.4)
    assert rates(net) == pytest.approx([0.4 * i / 12 for i in range(1, 13)])
    hook = ScheduledDropPathHook()
    hook.before_train(runner(net))
    for iteration, share in ((0, 0.0), (5, 0.5)):
        hook.before_train_iter(runner(net, iteration), iteration)
        assert rates(net) == pytest.approx([share * 0.4 * i / 12 for i in range(1, 13)])


def test_branches_are_dropped_in_training_only_and_preserve_the_mean():
    net = AutoDeepLab(filters=2, drop_path=0.5)
    x = torch.randn(4, 4, 32, 32)
    plain = AutoDeepLab(filters=2)
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert all(map(torch.equal, net.eval()(x), plain.eval()(x)))
        cell = net.cells[-1].train()
        cell.branches.eval(), cell.enter.eval()
        widths = [entry[1].in_channels for entry in cell.enter]
        inputs = (*(torch.randn(1, w, 2, 2).expand(4000, -1, -1, -1) for w in widths), (2, 2))
        dropped, whole = cell(*inputs)[:, :4], cell.eval()(*inputs)[:, :4]
        assert not torch.equal(dropped[0], dropped[1])
        torch.testing.assert_close(dropped.mean(0), whole.mean(0), rtol=0.1, atol=0.05)


@pytest.mark.parametrize('rate', [0.0, 0.3])
def test_samples_are_dropped_as_by_mmcv(rate):
    x = torch.randn(50, 3, 2, 2)
    torch.manual_seed(0)
    expected = drop_path(x, rate, training=True)
    torch.manual_seed(0)
    assert torch.equal(drop_branch(x, torch.tensor(rate)), expected)


def test_rising_rates_do_not_compile_a_cell_anew():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    net = AutoDeepLab(filters=2, drop_path=0.2)
    cell = net.cells[-1].train()
    compiled = torch.compile(cell, backend=backend, dynamic=False, fullgraph=True)
    widths = [entry[1].in_channels for entry in cell.enter]
    for progress in (0.0, 0.1, 0.5):
        net.set_drop_path(progress)
        compiled(*(torch.randn(2, width, 4, 4) for width in widths), (4, 4))
    torch._dynamo.reset()
    assert len(graphs) == 1


def test_supernets_are_unchanged_and_other_backbones_raise():
    hook = ScheduledDropPathHook()
    hook.before_train(runner(AutoDeepLabSupernet(3, 1, 1)))
    hook.before_train_iter(runner(None), 0)
    with pytest.raises(UserError, match='Conv2d does not support drop path; remove'):
        hook.before_train(runner(nn.Conv2d(1, 1, 1)))

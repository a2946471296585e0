import pytest

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.errors import UserError


def plan_of(tmp_path, *targets, resume=False, **options):
    options = {'space': 'dnas', **options}
    if targets:
        options['targets'] = list(targets)
    return SearchPlan.from_options(options, tmp_path, resume)


@pytest.mark.parametrize(
    ('targets', 'options', 'expected'),
    [
        (['40ms'], {}, ('latency', (0.04,))),
        (['0.1s', '40 ms'], {}, ('latency', (0.04, 0.1))),
        (['40ms'], {'cost': 'latency'}, ('latency', (0.04,))),
        (['0.04'], {'cost': 'latency'}, ('latency', (0.04,))),
        (['1.5G', '300M'], {}, ('macs', (3e8, 1.5e9))),
        (['3K', '4500'], {'cost': 'params'}, ('params', (3e3, 4.5e3))),
        ([1e5], {}, ('macs', (1e5,))),
    ],
)
def test_units_imply_the_metric(tmp_path, targets, options, expected):
    plan = plan_of(tmp_path, *targets, **options)
    assert (plan.cost, plan.targets) == (expected[0], pytest.approx(expected[1]))


@pytest.mark.parametrize(
    ('targets', 'options', 'message'),
    [
        (['40ms'], {'cost': 'macs'}, "target '40ms': the unit does not fit multiply-adds"),
        (['40ms'], {'cost': 'params'}, "target '40ms': the unit does not fit parameters"),
        (['2G'], {'cost': 'latency'}, "target '2G': the unit does not fit time"),
        (['2G', '40ms'], {}, "target '2G': the unit does not fit time"),
        (['fast'], {}, "target 'fast': expected a number with a unit"),
        (['0'], {}, 'positive'),
    ],
)
def test_invalid_targets(tmp_path, targets, options, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, *targets, **options)


def test_resuming_restores_the_metric(tmp_path):
    first = plan_of(tmp_path, '3K', cost='params')
    (tmp_path / 'search.json').write_text(first.to_json(tmp_path))
    assert plan_of(tmp_path, resume=True) == first
    assert plan_of(tmp_path, '3K', resume=True) == first
    with pytest.raises(UserError, match='does not fit parameters'):
        plan_of(tmp_path, '40ms', resume=True)


def test_warning_for_unknown_overrides(tmp_path, capsys):
    plan_of(
        tmp_path,
        options={'trian_dataloader.batch_size': 2, 'model.decode_head.channels': 8},
        search_options={'optim_wraper.type': 'AmpOptimWrapper', 'train_cfg.max_epochs': 2},
    )
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith('warning: --cfg-options trian_dataloader.batch_size')
    assert '(did you mean train_dataloader?)' in first
    assert second.startswith('warning: --search-options optim_wraper.type')
    assert '(did you mean optim_wrapper?)' in second


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(space='autodarts'),
            "unknown space 'autodarts': expected one of autodeeplab, densenas, dnas",
        ),
        (dict(levels=('path', 'cell')), 'expected consecutive stages of path, connection, cell'),
        (dict(batch=0), 'batch = 0: expected at least 1'),
        (dict(seed=-1), 'seed = -1: expected an integer from 0 to 4294967295'),
        (dict(seed=2**32), 'seed = 4294967296'),
        (dict(arch_start=-1), 'arch_start = -1: expected 0 or more'),
        (dict(patience=0), 'patience = 0: expected at least 1'),
    ],
)
def test_invalid_plans(changes, message):
    with pytest.raises(UserError, match=message):
        SearchPlan(**changes)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match='contains no search to resume'):
        SearchPlan.from_options({'space': 'dnas'}, tmp_path, resume=True)
    assert (
        SearchPlan.from_options({'space': 'dnas', 'layers': 9}, tmp_path, resume=True).layers == 9
    )

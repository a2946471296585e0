"""What a search is asked to do, as options say it."""

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
def test_a_unit_implies_what_it_is_of(tmp_path, targets, options, expected):
    plan = plan_of(tmp_path, *targets, **options)
    assert (plan.cost, plan.targets) == (expected[0], pytest.approx(expected[1]))


@pytest.mark.parametrize(
    ('targets', 'options', 'message'),
    [
        (['40ms'], {'cost': 'macs'}, "target '40ms' is no amount of multiply-adds: ms and s go"),
        (['40ms'], {'cost': 'params'}, "target '40ms' is no amount of parameters"),
        (['2G'], {'cost': 'latency'}, "target '2G' is no amount of time"),
        (['2G', '40ms'], {}, "target '2G' is no amount of time"),
        (['fast'], {}, "target 'fast' is no amount: write e.g. 10G, 2.5M or 40ms"),
        (['0'], {}, 'positive'),
    ],
)
def test_units_that_contradict_are_refused(tmp_path, targets, options, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, *targets, **options)


def test_resuming_keeps_what_targets_are_of(tmp_path):
    first = plan_of(tmp_path, '3K', cost='params')
    (tmp_path / 'search.json').write_text(first.to_json(tmp_path))
    assert plan_of(tmp_path, resume=True) == first
    assert plan_of(tmp_path, '3K', resume=True) == first
    with pytest.raises(UserError, match='no amount of parameters'):
        plan_of(tmp_path, '40ms', resume=True)


def test_overrides_that_nothing_reads_are_named(tmp_path, capsys):
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
            "space 'autodarts' is unknown; there are autodeeplab, densenas, dnas",
        ),
        (dict(levels=('path', 'cell')), 'any number of them that follow each other'),
        (dict(batch=0), 'batch = 0: at least 1'),
        (dict(patience=0), 'patience = 0: at least 1'),
    ],
)
def test_a_plan_that_is_none_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        SearchPlan(**changes)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match='holds no search: nothing to resume'):
        SearchPlan.from_options({'space': 'dnas'}, tmp_path, resume=True)
    assert (
        SearchPlan.from_options({'space': 'dnas', 'layers': 9}, tmp_path, resume=True).layers == 9
    )

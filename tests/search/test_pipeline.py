"""The whole search, as `tools/search.py` runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.search.stages import retrain_config, search_hook, stage_config
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.network import DNAS
from dnas_mmseg.spaces.registry import load_architecture

from ..conftest import ROOT, TWO_PROCESSES, make_data_root, run

TOOL = ROOT / 'tools/search.py'
LEVELS = ('path', 'connection', 'cell')


@pytest.fixture
def tiny(tmp_path):
    """Arguments of a search of seconds: two loading workers, crops and flips."""
    data_root = make_data_root(tmp_path / 'data', count=14)
    config = tmp_path / 'tiny.py'
    config.write_text(f"""
_base_ = '{ROOT}/configs/dnas/dnas_l14_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
default_hooks = dict(logger=dict(interval=1))
""")
    return ['--config', config, '--layers', 4, '--epochs', 3, '--crop', 32, '--batch', 2]


def final_state(work_dir):
    """Everything that must not depend on interruptions: results, weights, optimizers, histories."""
    state = {}
    for name in ('path', 'connection', 'architecture'):
        document = load_architecture(work_dir / f'{name}.json').to_document()
        state[name] = {key: document[key] for key in ('level', 'layers', 'path', 'nodes')}
    for path in sorted((work_dir / 'targets').glob('*/*.json')):
        found = load_architecture(path)
        state[path.relative_to(work_dir)] = (found.nodes, found.provenance['cost'])
    assert len(state) == 3 + 4
    for level in LEVELS:
        checkpoint = torch.load(work_dir / level / 'epoch_5.pth', weights_only=True)
        history = json.loads(checkpoint['architecture_search']['history'])
        for epoch in history['epochs']:
            del epoch['architecture']['name'], epoch['architecture']['provenance']
        state[level] = (
            checkpoint['state_dict'],
            checkpoint['optimizer'],
            checkpoint['architecture_search']['optimizer'],
            checkpoint['architecture_search']['cost'],
            checkpoint['param_schedulers'],
            history,
        )
    return state


def equal(a, b) -> bool:
    """Equal to the bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_killed_at_random_and_resumed_it_ends_bit_identical(tiny, tmp_path):
    command = [
        sys.executable, '-W', 'ignore', TOOL, 'dnas', *tiny, '--epochs', '5',
        '--cost', 'params', '--targets', '3K', '4500', '--cost-size', '32',
    ]  # fmt: skip
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    code, output = run(*command[3:], '--work-dir', tmp_path / 'whole')
    assert code == 0, output
    seed = int(time.time())
    print('moments of the kills from seed', seed)
    rng = np.random.default_rng(seed)
    kills = 0
    while not (tmp_path / 'cut/retrain.py').exists():
        process = subprocess.Popen(
            [str(part) for part in (*command, '--work-dir', tmp_path / 'cut', '--resume')],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        if kills < 4:
            # Some time after the second to fourth checkpoint of this attempt: in steps, in writing,
            # in decoding, between stages.
            lines = (line for line in iter(process.stdout.readline, '') if 'Saving' in line)
            for _ in range(rng.integers(2, 5)):
                next(lines, '')
            time.sleep(rng.uniform(0, 0.5))
            # Its loading workers too: one that has just been forked would wait for ever.
            os.killpg(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), rest
        kills += process.returncode != 0
    assert kills >= 2  # a fast machine may be through before the fourth
    assert equal(final_state(tmp_path / 'whole'), final_state(tmp_path / 'cut'))


def test_two_processes_keep_architecture_parameters_equal(tiny, tmp_path):
    """After every step, on both ranks, to the bit; the decoded networks agree."""
    probe = tmp_path / 'probe.py'
    probe.write_text(f"""
import sys
import torch
from mmengine.dist import all_gather, all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
sys.path.insert(0, '{ROOT}')
from dnas_mmseg.search import pipeline as module

class Compare(module.ProgressHook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model.module
        steps = getattr(runner, 'compared', 0)
        for name, tensor in model.named_parameters():
            first, second = all_gather(tensor.detach())
            assert torch.equal(first, second), f'{{name}} differs in step {{steps}}'
        mine = [s.metainfo['img_path'] for s in data_batch['data_samples']]
        first, second = all_gather_object(mine)
        assert not set(first) & set(second), 'both ranks saw the same tiles'
        runner.compared = steps + 1
    def after_train(self, runner):
        decoded = runner.model.module.backbone.decode()
        decoded.save('{tmp_path}/' + f'rank{{get_rank()}}_{{self.level}}.json')
        print(f'compared {{runner.compared}} steps in {{self.level}}')

module.ProgressHook = Compare
from dnas_mmseg.cli.command_line import user_errors
plan = module.SearchPlan(
    config='{tiny[1]}', layers=4, epochs=3, arch_start=1, crop=32, batch=2)
with user_errors():
    module.search(plan, '{tmp_path}/run', launcher='pytorch')
""")
    code, output = run(*TWO_PROCESSES, probe)
    assert code == 0, output[-3000:]
    for level in LEVELS:
        assert output.count(f'compared 3 steps in {level}') == 2
        ranks = [load_architecture(tmp_path / f'rank{rank}_{level}.json') for rank in range(2)]
        assert ranks[0] == ranks[1]
    assert (tmp_path / 'run/retrain.py').is_file()


@pytest.fixture
def plan(tiny):
    return SearchPlan(config=str(tiny[1]), layers=4, epochs=1, arch_start=0, crop=32, batch=2)


def test_from_tiles_to_a_retrained_network(tiny, tmp_path):
    work_dir = tmp_path / 'run'
    code, output = run(TOOL, 'dnas', *tiny, '--epochs', 2, '--work-dir', work_dir, '--retrain')
    assert code == 0, output
    assert 'stage connection, epoch 2 of 2' in output
    assert 'in all stages' in output
    assert 'entropy of operation' in output
    found = load_architecture(work_dir / 'architecture.json')
    assert (found.level, found.layers, found.pruned()) == ('cell', 4, found)
    assert found.path == load_architecture(work_dir / 'path.json').path
    assert found.at_level('connection') == load_architecture(work_dir / 'connection.json')
    scores = json.loads((work_dir / 'test/test_scores.json').read_text())
    assert 0 <= scores['mIoU'] <= 100
    history = SearchHistory.load(work_dir / 'cell')
    assert [(e.epoch, e.searching) for e in history.epochs] == [(1, True), (2, True)]
    assert history.epochs[-1].architecture.nodes == found.nodes
    # The config can be moved with its architecture, and trained as it is, in a folder of its own.
    work_dir.rename(tmp_path / 'moved')
    config = load_config(tmp_path / 'moved/retrain.py')
    assert config.work_dir == 'work_dirs/retrain'
    assert DNAS(**{k: v for k, v in config.model.backbone.items() if k != 'type'}).listed == found


def test_networks_of_a_cost(tiny, tmp_path):
    """Two from one search, each at its target, in configs that train them."""
    plan = SearchPlan(
        config=str(tiny[1]), layers=4, epochs=1, arch_start=0, crop=32, batch=2,
        targets=(300e3, 200e3), cost_size=32,
    )  # fmt: skip
    search(plan, tmp_path / 'run')
    for target in (200e3, 300e3):
        folder = tmp_path / f'run/targets/{target / 1e3:.0f}K'
        config = load_config(folder / 'retrain.py')
        assert abs(complexity(config, (32, 32)).macs / target - 1) < 0.1
        found = load_architecture(folder / 'architecture.json')
        assert found.provenance['cost']['predicted'] == complexity(config, (32, 32)).macs
        connected = load_architecture(tmp_path / 'run/connection.json')
        assert set(found.edges) <= set(connected.edges)
    # The dearest stands for all at the top.
    top = load_architecture(tmp_path / 'run/architecture.json')
    assert top == load_architecture(tmp_path / 'run/targets/300K/architecture.json')
    assert 'cost' not in load_architecture(tmp_path / 'run/connection.json').provenance


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(targets=(1.0,)),
            r'target 1 multiply-adds: what can be reached from here costs .* to ',
        ),
        (dict(targets=(1e15,)), r'target 1e.06 G multiply-adds: what can be reached'),
        (dict(targets=(1e5,), cost='flops'), "cost 'flops' is unknown: there are macs"),
        (dict(targets=(1e5, 1.00001e5)), 'targets 100K, 100K: too near to each other'),
        (dict(cost='params'), 'a cost without targets does nothing'),
        (dict(targets=(0.1,), cost='latency'), r'a measured table .measure_latency\.py'),
        (dict(targets=(0.1,), cost='latency', latency_table='no.json'), r'no\.json: no such table'),
    ],
)
def test_costs_that_cannot_be(plan, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        search(replace(plan, **{'cost_size': 32, **changes}), tmp_path / 'run', dry_run=True)
    assert not (tmp_path / 'run').exists()


def test_a_dry_run_tells_and_writes_nothing(tiny, tmp_path):
    code, output = run(TOOL, 'dnas', *tiny, '--work-dir', tmp_path / 'run', '--dry-run')
    assert code == 0, output
    for level in LEVELS:
        assert level in output
    assert '0:00:' in output
    assert not (tmp_path / 'run').exists()


def test_resuming_needs_no_other_option_and_refuses_others(plan, tiny, tmp_path):
    search(plan, tmp_path / 'run')
    assert SearchPlan.load(tmp_path / 'run') == plan
    code, output = run(TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume')
    assert code == 0, output
    assert 'nothing was left to do' in output
    code, output = run(
        TOOL, 'dnas', '--work-dir', tmp_path / 'run', '--resume', '--layers', 5, '--seed', 3
    )
    assert code == 1
    assert 'layers: 4, now 5' in output
    assert 'seed: 0, now 3' in output
    with pytest.raises(UserError, match='holds a search already: --resume'):
        search(plan, tmp_path / 'run')


def test_resuming_says_what_changed_in_an_inherited_config(plan, tiny, tmp_path):
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/architecture.json').unlink()
    text = tiny[1].read_text()
    tiny[1].write_text(text.replace('decode_head=dict(channels=8)', 'decode_head=dict(channels=9)'))
    with pytest.raises(
        UserError, match=r'network\.py is not what the plan leads to now[^$]*channels=9'
    ):
        search(plan, tmp_path / 'run', resume=True)


def test_a_second_run_in_the_same_work_dir_is_refused(plan, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, '-c',
         'import sys, time; from dnas_mmseg.files import lock_folder\n'
         f'with lock_folder("{tmp_path}/run"): print("in", flush=True); time.sleep(60)'],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert any('in' in line.split() for line in holder.stdout)
    with pytest.raises(UserError, match=f'in use by another run .process {holder.pid}'):
        search(plan, tmp_path / 'run')
    holder.kill()
    holder.wait()
    with lock_folder(tmp_path / 'run'):
        pass


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(space='autodarts'), "space 'autodarts' is unknown; there are dnas"),
        (dict(levels=('path', 'cell')), 'any number of them that follow each other'),
        (dict(batch=0), 'batch = 0: at least 1'),
        (dict(patience=0), 'patience = 0: at least 1'),
    ],
)
def test_a_plan_that_is_none_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        SearchPlan(**changes)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(levels=('connection',)), "starts from an architecture of level 'path'"),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5'),
            "is of level 'cell', but stage connection needs level 'path'",
        ),
        (
            dict(levels=('connection',), architecture='dnas_l12_gid5@path'),
            'has 12 layers, the search is for 4',
        ),
        (dict(architecture='dnas_l12_gid5@path'), 'starts from nothing'),
        (dict(layers=3), 'at least 4 are needed'),
        (dict(batch=8), '6 tiles to train on .in each process. do not fill a batch of 8'),
        (dict(arch_start=1), 'begin in epoch 1 .counted from 0., but there are 1 epochs'),
    ],
)
def test_what_cannot_work_is_refused_before_training(plan, tmp_path, changes, message):
    with pytest.raises((UserError, ArchitectureError), match=message):
        search(SearchPlan(**{**plan.__dict__, **changes}), tmp_path / 'run')
    assert not list((tmp_path / 'run').rglob('*.pth'))


def test_two_lists_are_the_halves(plan, tmp_path):
    lines = (tmp_path / 'data/train.txt').read_text().splitlines(keepends=True)
    for name, part in (('a.txt', lines[:4]), ('b.txt', lines[4:])):
        (tmp_path / name).write_text(''.join(part))
    halves = (str(tmp_path / 'a.txt'), str(tmp_path / 'b.txt'))
    plan = SearchPlan(**{**plan.__dict__, 'halves': halves, 'levels': ('path',)})
    found = search(plan, tmp_path / 'run')
    assert found.level == 'path'
    assert (tmp_path / 'run/path/half_b.txt').read_text() == ''.join(lines[4:])
    assert not (tmp_path / 'run/retrain.py').exists()


def test_a_stage_is_a_config_of_its_own(plan, tmp_path):
    changed = SearchPlan(**{**plan.__dict__, 'base_channels': 6, 'recompute': True})
    config = stage_config(changed, 'cell', 'dnas_l12_gid5@connection')
    assert config.model.backbone == dict(
        type='DNASCellSupernet', architecture='dnas_l12_gid5@connection', in_channels=4,
        base_channels=6, with_cp=True,
    )  # fmt: skip
    assert config.model.decode_head.channels == 8
    assert config.val_dataloader is None
    crops = [step for step in config.train_dataloader.dataset.pipeline if 'crop_size' in step]
    assert [step.crop_size for step in crops] == [(32, 32)]


def test_stages_can_be_run_one_after_another(plan, tmp_path):
    work_dir = tmp_path / 'run'
    first = SearchPlan(**{**plan.__dict__, 'levels': ('path',)})
    path = search(first, work_dir)
    rest = SearchPlan(**{**plan.__dict__, 'levels': ('connection', 'cell')})
    found = search(rest, work_dir, resume=True)
    assert (found.level, found.path) == ('cell', path.path)
    assert "fileDirname }}/path.json'" in (work_dir / 'connection.py').read_text()


def test_an_earlier_stage_is_not_run_under_the_results_of_later_ones(plan, tmp_path):
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/path.json').unlink()
    with pytest.raises(UserError, match='has the result of stage connection, which comes after'):
        search(plan, tmp_path / 'run', resume=True)


def test_a_plan_that_could_not_work_leaves_the_work_dir_free(plan, tmp_path):
    with pytest.raises(UserError, match='begin in epoch 1'):
        search(SearchPlan(**{**plan.__dict__, 'arch_start': 1}), tmp_path / 'run')
    assert search(plan, tmp_path / 'run').level == 'cell'


def test_options_with_tuples_can_be_resumed(plan, tmp_path):
    options = {'model.decode_head.dropout_ratios': (0.1, 0.1)}
    plan = SearchPlan(**{**plan.__dict__, 'options': options, 'levels': ('path',)})
    search(plan, tmp_path / 'run')
    (tmp_path / 'run/path.json').unlink()
    assert search(SearchPlan.load(tmp_path / 'run'), tmp_path / 'run', resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match='holds no search: nothing to resume'):
        SearchPlan.from_options({'space': 'dnas'}, tmp_path, resume=True)
    assert (
        SearchPlan.from_options({'space': 'dnas', 'layers': 9}, tmp_path, resume=True).layers == 9
    )


def test_stages_take_over_what_they_need_and_no_more(plan, tiny, tmp_path):
    with tiny[1].open('a') as file:
        file.write("load_from = 'x.pth'\n")
        file.write("default_hooks['sampler_seed'] = dict(type='DistSamplerSeedHook')\n")
        file.write('optim_wrapper = dict(optimizer=dict(lr=7.0))\n')
    changes = dict(seed=3, search_options={'optim_wrapper.optimizer.momentum': 0.5}, patience=4)
    config = stage_config(SearchPlan(**{**plan.__dict__, **changes}), 'path', None)
    assert config.load_from is None
    assert config.default_hooks.sampler_seed.type == 'EpochSeedHook'
    assert config.default_hooks.logger.interval == 1
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.momentum) == (
        0.025,
        0.5,
    )
    assert config.train_dataloader.sampler.split_seed == 3
    assert search_hook(config)['patience'] == 4
    retraining = retrain_config(plan, 'dnas_l12_gid5')
    assert retraining.optim_wrapper.optimizer.lr == 7.0
    assert retraining.load_from == 'x.pth'


def test_crops_and_halves_of_wrapped_data_sets(plan, tiny):
    with tiny[1].open('a') as file:
        file.write(
            "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', "
            "datasets=[dict(type='GID5Dataset', data_root=data_root, ann_file=name, pipeline=["
            "dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations'), "
            "dict(type='PackSegInputs')]) for name in ('train.txt', 'val.txt')]))\n"
        )
    config = stage_config(plan, 'path', None)
    for leaf in config.train_dataloader.dataset.datasets:
        assert [step['type'] for step in leaf.pipeline][1:3] == [
            'LoadRasterAnnotations',
            'RandomCrop',
        ]
    with pytest.raises(UserError, match='need a plain training set'):
        stage_config(SearchPlan(**{**plan.__dict__, 'halves': ('a.txt', 'b.txt')}), 'path', None)


def test_a_config_of_the_data_alone(plan, tmp_path):
    root = tmp_path / 'data'
    description = json.loads((root / 'dataset.json').read_text())
    config = tmp_path / 'data.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/_base_/datasets/gid5.py'\n"
        + ''.join(
            f"{split}_dataloader = dict(dataset=dict(type='MultiBandSegDataset', "
            f"data_root='{root}', metainfo=dict(classes=('a', 'b', 'c', 'd', 'e'))))\n"
            for split in ('train', 'val', 'test')
        )
    )
    plan = SearchPlan(**{**plan.__dict__, 'config': str(config)})
    (root / 'dataset.json').write_text(json.dumps({**description, 'classes': list('abcde')}))
    with pytest.raises(UserError, match=r'no dataset\.json with mean and std'):
        stage_config(plan, 'path', None)
    known = {**description, 'classes': list('abcde'), 'mean': [1, 2, 3, 4], 'std': [5, 6, 7, 8]}
    (root / 'dataset.json').write_text(json.dumps(known))
    made = retrain_config(plan, 'dnas_l12_gid5')
    assert made.model.data_preprocessor.mean == [1, 2, 3, 4]
    assert made.model.decode_head.num_classes == 5
    assert made.train_dataloader.dataset.type == 'MultiBandSegDataset'


def test_a_config_of_another_network_is_refused(plan):
    config = str(ROOT / 'configs/pspnet/pspnet_r18-d8_gid5.py')
    with pytest.raises(UserError, match=r'is a config of ResNetV1c; .* takes data, bands and head'):
        stage_config(SearchPlan(**{**plan.__dict__, 'config': config}), 'path', None)


def test_data_sets_of_a_config_of_data_alone_take_the_places_of_the_defaults(plan, tmp_path):
    """Nothing of the default's data set is left: neither its lists nor arguments of its class."""
    roots = [make_data_root(tmp_path / name, count=n, describe=False) for name, n in
             (('one', 4), ('two', 12))]  # fmt: skip
    for root, mean in zip(roots, (10.0, 20.0), strict=True):
        DatasetDescription(
            bands=BANDS, classes=('a', 'b', 'c', 'd', 'e'), label_convention='train_id',
            mean=(mean,) * 4, std=(2.0,) * 4,
        ).save(root)  # fmt: skip
    parts = [dict(type='MultiBandSegDataset', data_root=str(root)) for root in roots]
    config = tmp_path / 'data.py'
    config.write_text(
        f"train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets={parts}))\n"
        f'val_dataloader = dict(dataset={parts[0]})\n'
        f'test_dataloader = dict(dataset={parts[0]})\n'
    )
    plan = SearchPlan(**{**plan.__dict__, 'config': str(config)})
    made = retrain_config(plan, 'dnas_l12_gid5')
    train_set, val_set = made.train_dataloader.dataset, made.val_dataloader.dataset
    assert set(train_set) == {'type', 'datasets'}
    assert set(val_set) == {'type', 'data_root', 'pipeline', 'test_mode'}  # paired by folders
    assert train_set.datasets[0].pipeline[0].type == 'LoadRasterFromFile'
    assert len(DATASETS.build(train_set)) == 16
    # A quarter of the tiles have a mean of 10, the others of 20.
    assert made.model.data_preprocessor.mean == [17.5] * 4
    expected = (0.25 * (4 + 100) + 0.75 * (4 + 400) - 17.5**2) ** 0.5
    assert made.model.data_preprocessor.std == pytest.approx([expected] * 4, abs=1e-4)


@pytest.mark.parametrize('planned', [False, True], ids=['no search', 'one that did not begin'])
@pytest.mark.parametrize('name', [*LEVELS, 'retrain'])
def test_files_that_no_search_wrote_are_left_alone(plan, tmp_path, name, planned):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    mine = work_dir / f'{name}.py'
    mine.write_text('# mine\n')
    if planned:
        (work_dir / 'search.json').write_text(plan.to_json())
    with pytest.raises(UserError, match=rf'{name}\.py is there, and no search has written it'):
        search(plan, work_dir)
    assert mine.read_text() == '# mine\n'


def test_the_users_randomness_is_kept_but_for_the_seed(plan, tmp_path, monkeypatch):
    seen = []

    class Enough(Exception):
        pass

    def look(config):
        seen.append(dict(config.randomness))
        raise Enough

    monkeypatch.setattr('dnas_mmseg.search.pipeline.build_runner', look)
    options = {**plan.options, 'randomness.deterministic': True, 'randomness.seed': 99}
    with pytest.raises(Enough):
        search(SearchPlan(**{**plan.__dict__, 'options': options, 'seed': 5}), tmp_path / 'w')
    assert seen == [dict(deterministic=True, seed=5)]


def test_a_search_json_that_no_search_wrote_is_left_alone(plan, tmp_path):
    work_dir = tmp_path / 'mine'
    work_dir.mkdir()
    (work_dir / 'search.json').write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r'search\.json is damaged'):
        search(plan, work_dir)
    assert (work_dir / 'search.json').read_text() == '{"mine": 1}'


def test_classes_that_do_not_fit_stop_a_search_before_its_first_step(plan, tmp_path):
    options = {'model.decode_head.num_classes': 4}
    with pytest.raises(UserError, match=r'num_classes=4, but the training data set has 5 classes'):
        search(SearchPlan(**{**plan.__dict__, 'options': options}), tmp_path / 'w')

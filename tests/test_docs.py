"""What the README and the manual show, works as it stands there."""

import importlib.util
import re
import shlex
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import DATASETS, MODELS

from dnas_cli import COMMANDS
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.raster import write_raster
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.stages import supernet_config

from .conftest import ROOT

DOCS = [*sorted((ROOT / 'docs').glob('*.md')), *sorted((ROOT / 'benchmarks').glob('*.md'))]
PAGES = [
    str(path.relative_to(ROOT)) for path in (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *DOCS)
]
CARDS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / 'configs').glob('*/README.md'))]
NAMES = [name for group in COMMANDS.values() for name in group]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding='utf-8')


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', text(page), re.S)


def shell_lines(page: str) -> list[str]:
    """The lines of the shell on a page, continued ones joined, without comments."""
    shell = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ')
    return [re.split(r'\s#\s', line)[0].strip() for line in shell.splitlines() if line]


def cluster_lines(page: str) -> list[str]:
    """Commands in scripts of Slurm and manifests of Kubernetes, which are not run."""
    scripts = '\n'.join(blocks(page, 'sh')).splitlines()
    commands = [
        shlex.join(container['command'])
        for manifest in manifests(page)
        if manifest['kind'] == 'Job'
        for container in manifest['spec']['template']['spec']['containers']
    ]
    return [line for line in scripts if line.startswith('dnas ')] + commands


def manifests(page: str) -> list[dict]:
    return [
        document
        for block in blocks(page, 'yaml')
        for document in yaml.safe_load_all(block)
        if 'apiVersion' in document
    ]


def mentions(page: str) -> list[str]:
    """Commands in sentences."""
    return [' '.join(found.split()) for found in re.findall(r'`(dnas [a-z-]+ [^`]*)`', text(page))]


def test_ones_own_tiles(tmp_path, rng):
    """A config by hand: three classes, four bands, label values, lists, no dataset.json."""
    data = tmp_path / 'mine'
    for name in ('a', 'b', 'c'):
        write_raster(data / f'images/{name}.tif', rng.integers(0, 255, (4, 96, 80)).astype('uint8'))
        write_raster(data / f'labels/{name}.png', rng.integers(0, 4, (96, 80)).astype('uint8'))
    for split in ('train', 'val', 'test'):
        (data / f'{split}.txt').write_text('images/a.tif\tlabels/a.png\n' * 3)
    example = blocks('docs/data.md', 'python')[0]
    (tmp_path / 'config.py').write_text(example.replace('data/mine', str(data)))
    config = Config.fromfile(str(tmp_path / 'config.py'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert len(dataset) == 3
    assert set(np.unique(dataset[0]['data_samples'].gt_sem_seg.data)) == {0, 1, 2, 255}
    model = MODELS.build(config.model)
    batch = [dataset[0], dataset[1]]
    data = model.data_preprocessor(
        {key: [sample[key] for sample in batch] for key in batch[0]}, training=True
    )
    assert model(**data, mode='loss')['decode.loss_ce'].isfinite()


def test_the_recipe_for_ones_own_tiles(tmp_path):
    (tmp_path / 'config.py').write_text(blocks('docs/recipes.md', 'python')[0])
    config = Config.fromfile(str(tmp_path / 'config.py'))
    assert config.optim_wrapper.optimizer.type == 'AdamW'
    losses = [loss.loss_name for loss in MODELS.build(config.model).decode_head.loss_decode]
    assert losses == ['loss_ce', 'loss_dice']
    assert config.custom_hooks[0].type == 'EMAHook'
    assert config.train_cfg.max_epochs == 28


def test_fine_tuning(tmp_path):
    base = f"_base_ = '{ROOT}/configs/dnas/dnas_l14_gid5.py'\n"
    (tmp_path / 'source.py').write_text(base)
    source = MODELS.build(Config.fromfile(str(tmp_path / 'source.py')).model)
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'gid5.pth'))
    text = blocks('docs/recipes.md', 'python')[1].replace(
        'work_dirs/dnas_l14_gid5/best_mIoU_epoch_187.pth', str(tmp_path / 'gid5.pth')
    )
    (tmp_path / 'config.py').write_text(base + text)
    model = MODELS.build(Config.fromfile(str(tmp_path / 'config.py')).model)
    model.init_weights()
    stem = model.backbone.stem[0][0].weight
    assert (stem[:, 3] == source.backbone.stem[0][0].weight[:, 0]).all()
    assert model.decode_head.num_classes == 3


@pytest.mark.parametrize('base', ['dnas_l12_gid5', 'dnas_l12_w16_naip'])  # one loss, and a list
def test_a_head_with_one_output(base, tmp_path):
    (example,) = re.findall(r'`(decode_head=dict\(num_classes=2.*\))`', text('docs/files.md'))
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'dnas_mmseg::dnas/{base}.py'\nmodel = dict({example})\n"
    )
    head = MODELS.build(load_config(tmp_path / 'mine.py').model).decode_head
    assert (head.num_classes, head.out_channels, head.threshold) == (2, 1, 0.5)
    assert [loss.use_sigmoid for loss in head.loss_decode] == [True]


def test_a_search_in_the_space_of_resnet_blocks(tmp_path):
    (block,) = blocks('configs/densenas/README.md', 'python')
    (tmp_path / 'resnet_blocks.py').write_text(block)
    supernet = supernet_config(SearchPlan('densenas', config=str(tmp_path / 'resnet_blocks.py')))
    stage = load_config('dnas_mmseg::densenas/densenas_res-search_gid5.py')
    assert {key: supernet[key] for key in stage.model.backbone} == stage.model.backbone


def test_the_readme_is_a_page():
    assert len(text('README.md').splitlines()) <= 150


@pytest.mark.parametrize('page', PAGES)
def test_pages_are_short(page):
    assert len(text(page).splitlines()) < 200


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)\s]+)\)', text(page)):
        if link.startswith('http'):
            continue
        path, _, anchor = link.partition('#')
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
            known = {re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-') for h in headings}
            assert anchor in known, link


class Parsed(Exception):
    """The arguments were read."""


@pytest.mark.parametrize('page', [*PAGES, *CARDS])
def test_commands_are_understood(page, monkeypatch, tmp_path, capsys):
    """Every `dnas ...` is parsed by its program; make's targets and benchmarks are there."""

    def stop():
        raise Parsed

    monkeypatch.chdir(tmp_path)
    blocks_of_shell = [*shell_lines(page), *cluster_lines(page)]
    for line in [*blocks_of_shell, *mentions(page)]:
        words = shlex.split(line)
        if words[:3] == ['python', '-m', words[2] if len(words) > 2 else '']:
            assert importlib.util.find_spec(words[2]), line
        elif words[0] == 'make':
            assert re.search(rf'^{words[1]}:', text('Makefile'), re.M), line
        if '-m' in words and 'dnas_mmseg' in words and words[0] == 'torchrun':
            words = ['dnas', *words[words.index('dnas_mmseg') + 1 :]]
        if words[0] != 'dnas' or words[1].startswith('-') or '...' in words:
            continue
        assert words[1] in NAMES, line
        if words[1] == 'env':
            continue
        module = import_module(f'dnas_cli.{words[1].replace("-", "_")}')
        monkeypatch.setattr(module, 'user_errors', stop)
        monkeypatch.setattr(sys, 'argv', words[1:])
        if not is_whole(words):
            continue
        with pytest.raises(Parsed):
            try:
                module.main()
            except SystemExit:
                error = capsys.readouterr().err
                if line in blocks_of_shell or 'arguments are required' not in error:
                    pytest.fail(f'{line}: {error}')
                raise Parsed from None  # a mention in a sentence leaves out what is clear


def is_whole(words: list[str]) -> bool:
    """Whether a command has its arguments; a mention in a sentence names an option or two."""
    return len(words) > 2 and not words[2].startswith('--')


@pytest.mark.parametrize('page', PAGES)
def test_every_test_that_a_page_names_is_there(page):
    for path, name in re.findall(r'`([\w/]*test_\w+\.py)(?:::(\w+))?`', text(page)):
        assert (ROOT / path).is_file(), path
        assert f'def {name}' in (ROOT / path).read_text()


@pytest.mark.parametrize('page', PAGES)
def test_scripts_are_scripts(page):
    for block in blocks(page, 'sh'):
        found = subprocess.run(['bash', '-n'], input=block, capture_output=True, text=True)
        assert not found.stderr, block


def test_the_manifest_starts_a_scheduler_workers_and_a_job():
    cluster, job = manifests('docs/scale.md')
    assert (cluster['kind'], job['kind']) == ('DaskCluster', 'Job')
    worker, scheduler = (cluster['spec'][name]['spec'] for name in ('worker', 'scheduler'))
    assert worker['containers'][0]['args'][:2] == ['dask', 'worker']
    assert scheduler['containers'][0]['args'] == ['dask', 'scheduler']
    volumes = {volume['name'] for volume in job['spec']['template']['spec']['volumes']}
    for container in (worker, job['spec']['template']['spec']):
        mounts = container['containers'][0]['volumeMounts']
        assert {mount['name'] for mount in mounts} == volumes


@pytest.mark.parametrize('page', PAGES)
def test_python_is_python(page):
    for block in blocks(page, 'python'):
        compile(block.replace('{{_base_.', 'dict(').replace('}}', ')'), page, 'exec')


def test_the_manual_is_built_without_a_warning(tmp_path):
    if importlib.util.find_spec('sphinx') is None:
        pytest.skip("sphinx is not installed: pip install 'dnas_mmseg[docs]'")
    from sphinx.cmd.build import build_main

    code = build_main(['-q', '-W', '--keep-going', '-b', 'html', str(ROOT / 'docs'), str(tmp_path)])
    assert code == 0
    assert 'MultiBandInferencer' in (tmp_path / 'api.html').read_text()

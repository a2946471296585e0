"""What the README shows, works as it stands there."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.raster import write_raster

from .conftest import ROOT

README = (ROOT / 'README.md').read_text()
PAGES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / 'docs').glob('*.md'))]
EXAMPLES = re.findall(r'```python\n(.*?)```', README, re.S)


def test_ones_own_tiles(tmp_path, rng):
    """The first example: three classes, four bands, index labels, lists, no dataset.json."""
    data = tmp_path / 'mine'
    for name in ('a', 'b', 'c'):
        write_raster(data / f'images/{name}.tif', rng.integers(0, 255, (4, 96, 80)).astype('uint8'))
        write_raster(data / f'labels/{name}.png', rng.integers(0, 4, (96, 80)).astype('uint8'))
    for split in ('train', 'val', 'test'):
        (data / f'{split}.txt').write_text('images/a.tif\tlabels/a.png\n' * 3)
    text = EXAMPLES[0].replace('<clone>', str(ROOT)).replace('data/mine', str(data))
    (tmp_path / 'config.py').write_text(text)
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
    (tmp_path / 'config.py').write_text(EXAMPLES[1].replace('<clone>', str(ROOT)))
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
    text = EXAMPLES[2].replace(
        'work_dirs/dnas_l14_gid5/best_mIoU_epoch_187.pth', str(tmp_path / 'gid5.pth')
    )
    (tmp_path / 'config.py').write_text(base + text)
    model = MODELS.build(Config.fromfile(str(tmp_path / 'config.py')).model)
    model.init_weights()
    stem = model.backbone.stem[0][0].weight
    assert (stem[:, 3] == source.backbone.stem[0][0].weight[:, 0]).all()
    assert model.decode_head.num_classes == 3


@pytest.mark.parametrize('link', sorted(set(re.findall(r'\]\(([^)#:]+)\)', README))))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize('tool', sorted(set(re.findall(r'tools/[\w/]+\.(?:py|sh)', README))))
def test_programs_are_there(tool):
    assert (ROOT / tool).exists()


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', *PAGES])
def test_every_test_that_a_page_names_is_there(page):
    for path, name in re.findall(r'`([\w/]*test_\w+\.py)(?:::(\w+))?`', (ROOT / page).read_text()):
        assert (ROOT / path).is_file(), path
        assert f'def {name}' in (ROOT / path).read_text()

"""Stock programs and inference API of mmseg with configs of this package."""

from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.apis.remote_sense_inferencer import RSImage, RSInferencer

from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, make_data_root, run

STOCK_TOOLS = Path(mmseg.__file__).parent / '.mim/tools'


def write_config(path: Path, data_root: Path, extra: str = '') -> Path:
    path.write_text(
        f"""_base_ = '{ROOT}/configs/dnas/dnas_l14_gid5.py'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
data = dict(dataset=dict(data_root='{data_root}'), num_workers=1)
train_dataloader = dict(**data)
val_dataloader = dict(**data)
test_dataloader = dict(**data)
train_cfg = dict(max_epochs=1)
param_scheduler = dict(T_max=1)
{extra}
"""
    )
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config, data root and work dir of a run of the stock train.py."""
    if not STOCK_TOOLS.is_dir():
        pytest.skip(f'this mmseg ships no tools ({STOCK_TOOLS})')
    folder = tmp_path_factory.mktemp('stock')
    root = make_data_root(folder / 'data')
    config = write_config(folder / 'config.py', root)
    code, output = run(STOCK_TOOLS / 'train.py', config, '--work-dir', folder / 'run')
    assert code == 0, output
    return config, root, folder / 'run'


def test_stock_train_and_test(trained):
    config, _, work_dir = trained
    (best,) = work_dir.glob('best_mIoU*.pth')
    code, output = run(STOCK_TOOLS / 'test.py', config, best, '--work-dir', work_dir / 'test')
    assert code == 0, output
    assert 'FWIoU' in output


def test_dnas_test_reads_the_same_checkpoint(trained):
    config, _, work_dir = trained
    (best,) = work_dir.glob('best_mIoU*.pth')
    code, output = run(ROOT / 'tools/test.py', config, best, '--work-dir', work_dir / 'test')
    assert code == 0, output
    assert (work_dir / 'test/test_scores.json').exists()


def test_a_checkpoint_of_another_architecture_is_refused(trained):
    config, _, work_dir = trained
    (best,) = work_dir.glob('best_mIoU*.pth')
    code, output = run(
        ROOT / 'tools/test.py', config, best, '--work-dir', work_dir / 'other',
        '--cfg-options', 'model.backbone.architecture=dnas_l12_gid5',
    )  # fmt: skip
    assert code == 1
    assert "error: the weights are of another architecture than 'dnas_l12_gid5'" in output
    assert 'Traceback' not in output


def test_inference_api_on_a_path_and_on_an_array(trained):
    config, root, work_dir = trained
    (best,) = work_dir.glob('best_mIoU*.pth')
    image = root / 'images/t_0_0.tif'
    # A new model each time: mmseg's inference modifies model.cfg for arrays.
    from_path = inference_model(init_model(str(config), str(best), device='cpu'), str(image))
    array = read_raster(image).transpose(1, 2, 0)
    from_array = inference_model(init_model(str(config), str(best), device='cpu'), array)
    assert from_path.pred_sem_seg.data.shape == (1, 64, 64)
    assert torch.equal(from_path.seg_logits.data, from_array.seg_logits.data)


def test_a_config_that_replaces_custom_imports_still_works(trained, tmp_path):
    """The config lists only its own module; stock programs and dnas_cli run."""
    _, root, _ = trained
    config = write_config(
        tmp_path / 'config.py',
        root,
        "custom_imports = dict(imports=['os.path'], allow_failed_imports=False)",
    )
    code, output = run(STOCK_TOOLS / 'train.py', config, '--work-dir', tmp_path / 'stock')
    assert code == 0, output
    code, output = run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'ours')
    assert code == 0, output
    assert (
        "custom_imports of the config replaces the inherited one and lacks 'dnas_mmseg'" in output
    )
    saved = Config.fromfile(str(tmp_path / 'ours/config.py'))
    assert saved.custom_imports.imports == ['dnas_mmseg', 'os.path']


def test_invalid_data_raise_an_error_before_training(trained, tmp_path):
    _, root, _ = trained
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/train.txt').write_text('')
    code, output = run(
        ROOT / 'tools/train.py', write_config(tmp_path / 'config.py', root),
        '--work-dir', tmp_path / 'run', '--data-root', tmp_path / 'bad',
    )  # fmt: skip
    assert code == 1
    assert 'train.txt is empty' in output
    assert 'Traceback' not in output


def test_class_weights_are_set_by_one_option(trained, tmp_path):
    config, root, _ = trained
    code, output = run(
        ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'run', '--class-weights'
    )
    assert code == 0, output
    labels = np.concatenate(
        [read_raster(root / f'labels/t_{i}_0.png') for i in range(4)], axis=None
    )
    counts = np.bincount(labels, minlength=256)[:5]
    expected = np.round(np.median(counts) / counts, 4).tolist()
    assert f'class weights: {expected}' in output
    saved = Config.fromfile(str(tmp_path / 'run/config.py'))
    assert list(saved.model.decode_head.loss_decode.class_weight) == expected


def test_the_stock_scene_inferencer_maps_scenes_with_plain_tags(trained, tmp_path, rng):
    config, _, work_dir = trained
    (best,) = work_dir.glob('best_mIoU*.pth')
    samples = rng.integers(1, 250, (4, 96, 96)).astype(np.uint8)
    write_raster(tmp_path / 's.tif', samples)
    inferencer = RSInferencer.from_config_path(str(config), str(best))
    inferencer.run(RSImage(str(tmp_path / 's.tif')), (96, 96), (96, 96), str(tmp_path / 'm.tif'))
    model = init_model(str(config), str(best), device='cpu')
    expected = inference_model(model, str(tmp_path / 's.tif')).pred_sem_seg.data[0]
    assert (read_raster(tmp_path / 'm.tif')[0] == expected.numpy()).all()

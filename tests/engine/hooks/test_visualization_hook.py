from mmengine.config import Config
from mmengine.runner import Runner

from ...conftest import ROOT, make_data_root


def test_some_validation_tiles_are_visualised(tmp_path):
    root = make_data_root(tmp_path / 'data', dtype='uint16', bands=('a', 'b', 'c', 'd', 'e'))
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            model=dict(
                data_preprocessor=dict(mean=[100.0] * 5, std=[50.0] * 5),
                backbone=dict(base_channels=2, in_channels=5),
                decode_head=dict(channels=8),
            ),
            log_level='ERROR',
            experiment_name=tmp_path.name,
            default_hooks=dict(
                visualization=dict(type='MultiBandVisualizationHook', interval=2, number=2)
            ),
        )
    )
    config.visualizer.name = tmp_path.name
    for split in ('train', 'val', 'test'):
        dataset = dict(type='MultiBandSegDataset', data_root=str(root), ann_file='train.txt')
        config[f'{split}_dataloader'].num_workers = 0
        config[f'{split}_dataloader'].dataset.update(dataset)
    runner = Runner.from_cfg(config)
    runner.val()
    runner.test()
    drawn = sorted(p.name for p in (tmp_path / 'run').rglob('vis_image/*.png'))
    assert drawn == ['test_t_0_0_0.png', 'test_t_2_0_0.png', 'val_t_0_0_0.png', 'val_t_2_0_0.png']

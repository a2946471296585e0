"""Command `dnas count`."""

import pytest
from mmengine.config import Config

from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.errors import UserError

from ..conftest import ROOT, run


def test_several_configs_are_counted(configs):
    code, output = run(
        ROOT / 'tools/analysis_tools/get_flops.py', configs['ours'], configs['stock'], '--size', 64
    )
    assert code == 0, output
    assert 'stock' in output
    assert '3,936,091' in output
    config = Config.fromfile(str(configs['ours']))
    complexity(config, (64, 64), bands=8, paper=True)
    assert config.model.backbone.in_channels == 4
    assert 'prune' not in config.model.backbone
    ensemble = Config(dict(model=dict(type='EnsembleSegmentor', members=[])))
    with pytest.raises(UserError, match='EnsembleSegmentor has no backbone'):
        complexity(ensemble, (64, 64), bands=8)
    with pytest.raises(UserError, match='the model EnsembleSegmentor cannot be built'):
        complexity(ensemble, (64, 64), paper=True)
    code, output = run(ROOT / 'tools/analysis_tools/get_flops.py', configs['broken'])
    assert code == 1
    assert 'error: HRNet cannot run on images of 512 x 512' in output

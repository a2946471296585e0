"""Pictures of the samples of a config."""

import base64
import re

import pytest

from dnas_mmseg.apis import SamplePictures, browse
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError

from ..conftest import ROOT

CONFIG = ROOT / 'configs/dnas/dnas_l12_gid5.py'


def test_a_notebook_shows_the_pictures_that_are_saved(data_root, tmp_path):
    pictures = browse(load_config(CONFIG, data_root=data_root), number=3)
    assert list(pictures.names) == ['t_0_0', 't_1_0', 't_2_0']
    paths = pictures.save(tmp_path / 'pictures')
    assert [path.name for path in paths] == ['t_0_0.png', 't_1_0.png', 't_2_0.png']
    page = pictures._repr_html_()
    shown = [base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', page)]
    assert shown == [path.read_bytes() for path in paths]
    assert all(picture.startswith(b'\x89PNG') for picture in shown)
    assert re.findall(r'<figcaption>(.*?)</figcaption>', page) == ['t_0_0', 't_1_0', 't_2_0']


def test_a_path_and_a_split(data_root, tmp_path):
    path = tmp_path / 'mine.py'
    loaders = ''.join(
        f"{split}_dataloader = dict(dataset=dict(data_root='{data_root}'))\n"
        for split in ('train', 'val')
    )
    path.write_text(f"_base_ = '{CONFIG}'\n{loaders}test_dataloader = None\n")
    assert browse(path, 'val').names == ['t_4_0', 't_5_0']
    with pytest.raises(UserError, match='the config has no test_dataloader'):
        browse(path, 'test')
    with pytest.raises(UserError, match='number = -2 samples: expected at least 1'):
        browse(path, number=-2)


def test_names_are_escaped():
    assert '<figcaption>&lt;b&gt;</figcaption>' in SamplePictures(['<b>'], [b''])._repr_html_()

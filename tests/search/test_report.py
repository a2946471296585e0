import re

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.report import save_search_report
from dnas_mmseg.spaces.dnas.supernets import (
    DNASCellSupernet,
    DNASConnectionSupernet,
    DNASPathSupernet,
)
from dnas_mmseg.spaces.registry import load_architecture

from .conftest import L4, searched


@pytest.fixture
def work_dir(tmp_path):
    """Of a search whose last stage is still running."""
    supernets = {
        'path': DNASPathSupernet(layers=4, base_channels=2),
        'connection': DNASConnectionSupernet(L4, base_channels=2),
        'cell': DNASCellSupernet('dnas_l12_gid5@connection', base_channels=2),
    }
    for i, (level, supernet) in enumerate(supernets.items()):
        (tmp_path / f'{level}.py').write_text('')
        searched(supernet, epochs=1 if level == 'cell' else 3).save(tmp_path / level)
        assert i < 3
    (tmp_path / 'search.json').write_text('{"space": "dnas", "layers": 4, "crop": null}')
    return tmp_path


def test_the_page_is_complete_and_needs_no_network(work_dir, tmp_path):
    page = save_search_report(work_dir, tmp_path / 'out')
    text = page.read_text()
    links = re.findall(r'(?:src|href)\s*=\s*"(.{6})', text)
    assert all(link.startswith(('#', 'data:')) for link in links)
    order = [text.index(f'<h2>{level}:') for level in ('path', 'connection', 'cell')]
    assert order == sorted(order)
    for picture in ('path_graph', 'connection_graph', 'cell_operations', 'cell_shares'):
        assert (tmp_path / f'out/{picture}.png').stat().st_size > 5000
    assert not (tmp_path / 'out/path_operations.png').exists()
    assert text.count('<svg') == len(list((tmp_path / 'out').glob('*.png'))) == 10
    assert '<td>layers</td><td>4</td>' in text
    assert 'crop' not in text
    nodes = load_architecture('dnas_l12_gid5').pruned().nodes
    assert re.search(rf'The decoded network: path [0-3-]+, nodes {len(nodes)}, edges', text)


def test_a_single_stage(work_dir, tmp_path):
    text = save_search_report(work_dir / 'path', tmp_path / 'out').read_text()
    assert re.search('Decoded: <b>path 0-[0-3]-[0-3]-[0-3]</b>', text)
    assert 'connection' not in text


def test_nothing_searched_yet(tmp_path):
    with pytest.raises(UserError, match='a search writes it after its first epoch'):
        save_search_report(tmp_path, tmp_path / 'out')

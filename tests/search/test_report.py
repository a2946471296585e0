import json
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.search.listeners import SearchPage
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
    """Work dir of a search whose last stage is running."""
    supernets = {
        'path': DNASPathSupernet(layers=4, base_channels=2),
        'connection': DNASConnectionSupernet(L4, base_channels=2),
        'cell': DNASCellSupernet('dnas_l12_gid5@connection', base_channels=2),
    }
    for level, supernet in supernets.items():
        (tmp_path / f'{level}.py').write_text('')
        searched(supernet, epochs=1 if level == 'cell' else 3).save(tmp_path / level)
    (tmp_path / 'search.json').write_text('{"space": "dnas", "layers": 4, "crop": null}')
    return tmp_path


def test_page_is_self_contained(work_dir, tmp_path):
    page = save_search_report(work_dir, tmp_path / 'out')
    text = page.read_text()
    links = re.findall(r'(?:src|href)\s*=\s*"(.{6})', text)
    assert all(link.startswith(('#', 'data:')) for link in links)
    order = [text.index(f'<h2>Stage {level}:') for level in ('path', 'connection', 'cell')]
    assert order == sorted(order)
    for picture in ('path_graph', 'connection_graph', 'cell_operations', 'cell_shares'):
        assert (tmp_path / f'out/{picture}.png').stat().st_size > 5000
    assert not (tmp_path / 'out/path_operations.png').exists()
    # A table with a slider replaces the figure of the operations.
    assert text.count('<svg') == len(list((tmp_path / 'out').glob('*.png'))) - 1 == 6
    assert text.count('class="heat"') >= 3
    assert '<td>layers</td><td>4</td>' in text
    assert 'crop' not in text
    nodes = load_architecture('dnas_l12_gid5').pruned().nodes
    assert re.search(rf'Decoded network: path [0-3-]+, nodes {len(nodes)}, edges', text)


def test_summary_of_a_running_and_a_finished_search(work_dir, tmp_path):
    text = save_search_report(work_dir, tmp_path / 'out').read_text()
    assert '<h1>Search for a network of 4 layers in space dnas</h1>' in text
    assert 'Stage cell, decoded after epoch 1: path ' in text
    assert f'dnas search dnas --work-dir {work_dir} --resume' in text
    for level in ('path', 'connection', 'cell'):
        searched(DNASPathSupernet(layers=4, base_channels=2), epochs=3).save(work_dir / level)
    load_architecture('dnas_l12_gid5').save(work_dir / 'architecture.json')
    (work_dir / 'retrain.py').write_text('')
    text = save_search_report(work_dir, tmp_path / 'out').read_text()
    path = load_architecture('dnas_l12_gid5').summary['path']
    assert f'Result: path {path}, nodes ' in text
    assert re.search(r'decisions: 0\.\d+ of 1 \([a-z ]*decided\)\.', text)
    assert f'dnas train {work_dir}/retrain.py' in text
    assert '<body>' in text
    text = save_search_report(work_dir, tmp_path / 'out', running=True).read_text()
    assert '<body data-reload=30>' in text


def test_slider_data_contains_every_probability(work_dir, tmp_path):
    text = save_search_report(work_dir, tmp_path / 'out').read_text()
    history = SearchHistory.load(work_dir / 'cell')
    data = json.loads(re.findall(r'application/json">(.*?)</script>', text)[-1])
    (epoch,) = data['epochs']
    assert data['last'] == 1
    shown = dict(zip(data['names'], epoch['values'], strict=True))
    decision, probabilities = history.decisions[0], history.epochs[0].probabilities[0]
    node = ','.join(map(str, decision.node))
    for option, probability in zip(decision.options, probabilities, strict=True):
        assert shown[f'{option} of {node}'] == pytest.approx(probability, abs=1e-3)
    decoded = {data['names'][i] for i in epoch['decoded']}
    chosen = history.epochs[0].architecture.selected_operations[decision.node]
    assert {f'{name} of {node}' for name in chosen} <= decoded


def test_slider_has_at_most_60_epochs(tmp_path):
    searched(DNASPathSupernet(layers=4, base_channels=2), epochs=80).save(tmp_path)
    text = save_search_report(tmp_path, tmp_path / 'out', pictures=False).read_text()
    data = json.loads(re.findall(r'application/json">(.*?)</script>', text)[-1])
    epochs = [epoch['epoch'] for epoch in data['epochs']]
    assert (len(epochs), epochs[0], epochs[-1], data['last']) == (60, 1, 80, 80)


def test_a_single_stage(work_dir, tmp_path):
    text = save_search_report(work_dir / 'path', tmp_path / 'out').read_text()
    assert re.search('Decoded: path 0-[0-3]-[0-3]-[0-3]</p>', text)
    assert '<h1>Search, stage path</h1>' in text


def test_folder_without_a_search(tmp_path):
    with pytest.raises(UserError, match='a search writes it after its first epoch'):
        save_search_report(tmp_path, tmp_path / 'out')


def test_networks_of_several_targets_are_the_result(work_dir, tmp_path):
    """Not the network decoded at the mean of the targets, of the last epoch."""
    (work_dir / 'search.json').write_text('{"space": "dnas", "targets": [1e9, 2e9]}')
    for name, predicted in (('1G', 1.02e9), ('2G', 1.9e9)):
        folder = work_dir / 'targets' / name
        cost = {'cost': {'metric': 'macs', 'predicted': predicted}}
        network = load_architecture('dnas_l12_gid5' if name == '1G' else 'dnas_l14_gid5')
        replace(network, provenance=cost).save(folder / 'architecture.json')
    (work_dir / 'retrain.py').write_text('')
    text = save_search_report(work_dir, tmp_path / 'out', pictures=False).read_text()
    for name, network, cost in (
        ('1G', 'dnas_l12_gid5', '1.02 G multiply-adds'),
        ('2G', 'dnas_l14_gid5', '1.9 G multiply-adds'),
    ):
        path = load_architecture(network).summary['path']
        assert re.search(rf'Result for target {name}: path {path}, nodes .*, {cost}\.', text)
        assert f'dnas train {work_dir}/targets/{name}/retrain.py' in text
    assert 'Result: ' not in text
    assert 'Decoded network at the mean of the targets: path ' in text


def test_stages_are_in_the_order_of_the_space(work_dir, tmp_path):
    """Neither the times of the files nor other folders with a history change it."""
    expected = _without_time(save_search_report(work_dir, tmp_path / 'out', pictures=False))
    for age, level in enumerate(('path', 'connection', 'cell')):
        os.utime(work_dir / f'{level}.py', (9e8 - age, 9e8 - age))
    searched(DNASPathSupernet(layers=5, base_channels=2)).save(work_dir / 'zzz')
    page = save_search_report(work_dir, tmp_path / 'out', pictures=False)
    assert _without_time(page) == expected


def _without_time(page):
    return re.sub(r'\d\d:\d\d:\d\d', '', page.read_text())


def test_a_stage_in_another_folder_has_its_own_report(work_dir):
    searched(DNASPathSupernet(layers=5, base_channels=2)).save(work_dir / 'mine')
    for name, place in (('mine', 'mine/report/search.html'), ('cell', 'report/search.html')):
        SearchPage().after_epoch(SimpleNamespace(work_dir=str(work_dir / name)), None)
        assert sorted(work_dir.rglob('search.html')) == [work_dir / place]
        (work_dir / place).unlink()

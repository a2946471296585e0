"""HTML pages in a real browser at two widths: no overflow, no requests, working controls."""

import os
import shutil
from importlib.util import find_spec

import pytest

from dnas_mmseg.comparison.report import save_cost_report
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.dataset_page import save_dataset_page
from dnas_mmseg.engine.dataset_report import check_dataset
from dnas_mmseg.search.report import save_search_report
from dnas_mmseg.selection.algorithm import Request, Selection
from dnas_mmseg.selection.families import Candidate
from dnas_mmseg.selection.leaderboard import Leaderboard
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.plan import SelectionPlan
from dnas_mmseg.selection.queue import Outcome
from dnas_mmseg.selection.report import save_results
from dnas_mmseg.spaces.dnas.supernets import DNASCellSupernet, DNASPathSupernet

from ..conftest import ROOT, make_data_root
from ..search.conftest import searched
from ..selection.conftest import stand_in

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
if find_spec('playwright') is None:
    pytest.skip(
        "playwright is not installed: pip install 'dnas_mmseg[dev]'", allow_module_level=True
    )
if CHROMIUM is None:
    pytest.skip('there is no Chromium: apt-get install chromium', allow_module_level=True)

NAMES = ('search', 'selection', 'comparison', 'check')
CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        options = ['--no-sandbox'] if os.name == 'posix' and os.getuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=[*options, '--disable-gpu'])
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pages')
    searched(DNASPathSupernet(layers=8, base_channels=2), epochs=4).save(folder / 'run/path')
    cell = DNASCellSupernet('dnas_l12_gid5@connection', base_channels=2)
    searched(cell, epochs=3).save(folder / 'run/cell')
    for name in ('path.py', 'cell.py'):
        (folder / 'run' / name).write_text('')
    (folder / 'run/search.json').write_text('{"space": "dnas", "layers": 12}')
    networks = [Candidate('dnas', (), 'network_' + 'x' * i) for i in range(1, 12)]
    baseline = Candidate('hrnet', (), 'hrnet')
    candidates = stand_in(SelectionPlan('mine.py', hours=8), (baseline,), set())
    board = Leaderboard(candidates, Lengths((200.0, 1800.0), 8.0, 28800.0, 5.0), {'trees': 61.0})

    def outcome(score, *epochs):
        curve = [(epoch, score - 1 / epoch) for epoch in epochs]
        facts = dict(epochs=epochs[-1], steps=40 * epochs[-1], seconds=9.0, curve=curve)
        return Outcome(score, metadata=facts)

    board.add([(Request(n, 0, 0), outcome(50.0 + i, 2)) for i, n in enumerate(networks)])
    last = [(Request(n, 1, 0), outcome(70.0 + i, 2, 9, 18)) for i, n in enumerate(networks[:6])]
    board.add([*last, (Request(baseline, 1, 0), outcome(72.0, 9))])
    result = Selection(
        networks[5], networks[4], 75.0, 1, (networks[4],), 0.8, 7.5, (), {networks[0]: 70}, {}
    )
    board.decide(result)
    board.finish({'mIoU': 74.2, **{f'IoU.{name}': 70.0 for name in CLASSES}})
    save_results(board, folder, running=False)
    rows = [
        dict(
            name=f'a_model_with_a_long_name_{i}', parameters=1e6 * i, macs=1e9 * i, activations=1e8,
            latency=[0.1 * i], memory=1e8, step=[0.4], step_memory=1e9, notes=['a note'],
            scores={'mIoU': 70.0 + i, 'OA': 80.0, **{f'IoU.{name}': 60.0 + i for name in CLASSES}},
        )
        for i in (3, 1, 20)
    ]  # fmt: skip
    config = load_config(
        ROOT / 'configs/dnas/dnas_l12_gid5.py', data_root=make_data_root(folder / 'data')
    )
    return {
        'check': save_dataset_page(check_dataset(config, details=True), folder / 'check.html'),
        'search': save_search_report(folder / 'run', folder / 'report'),
        'selection': folder / 'report.html',
        'comparison': save_cost_report(rows, {'size': '64 x 64'}, folder / 'comparison'),
    }


def opened(browser, page, width, scheme='light'):
    tab = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)
    seen = []
    tab.on('console', lambda message: seen.append(message.text) if message.type == 'error' else 0)
    tab.on('pageerror', lambda error: seen.append(str(error)))
    tab.on('request', lambda request: seen.append(request.url))
    tab.goto(page.as_uri())
    return tab, seen


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1400, 420])
@pytest.mark.parametrize('name', NAMES)
def test_no_overflow_error_or_request(browser, pages, name, width, scheme):
    tab, seen = opened(browser, pages[name], width, scheme)
    tab.wait_for_load_state('networkidle')
    assert [url for url in seen if not url.startswith('data:')] == [pages[name].as_uri()]
    assert tab.evaluate('document.documentElement.scrollWidth') <= width
    outside = tab.evaluate(
        """() => [...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, pre')
        && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    # Text of figures stays readable: narrow windows scroll them.
    heights = tab.evaluate(
        """() => [...document.querySelectorAll('figure svg text')]
        .map((e) => e.getBoundingClientRect().height).filter((h) => h > 0)"""
    )
    assert min(heights) >= 7
    ground, text = tab.evaluate(
        '[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]'
    )
    assert (sum(map(int, ground[4:-1].split(','))) < 200) == (scheme == 'dark')
    assert ground != text
    assert pages[name].stat().st_size < 1e6
    tab.close()


@pytest.mark.parametrize(('name', 'column'), [('selection', 3), ('comparison', 1)])
def test_a_click_on_a_heading_sorts(browser, pages, name, column):
    tab, _ = opened(browser, pages[name], 1400)
    table = tab.locator('table.sortable').first
    heading = table.locator('th').nth(column)

    def values():
        cells = table.locator(f'tbody td:nth-child({column + 1})').all_inner_texts()
        return [float(cell) for cell in cells if cell]  # per-pixel baselines have no epochs

    heading.click()
    assert values() == sorted(values(), reverse=True)
    assert heading.get_attribute('aria-sort') == 'descending'
    heading.press('Enter')
    assert values() == sorted(values())
    assert len(set(values())) > 2
    tab.close()


@pytest.mark.parametrize('name', ['selection', 'comparison'])
def test_points_have_tooltips(browser, pages, name):
    tab, _ = opened(browser, pages[name], 1400)
    tips = tab.locator('figure .tip title').all_text_contents()
    assert len(tips) >= 3
    assert all('%' in tip for tip in tips)
    tab.close()


def test_a_slider_selects_the_epoch(browser, pages):
    tab, _ = opened(browser, pages['search'], 420)
    box = tab.locator('.course').first
    assert box.locator('output').inner_text() == 'epoch 4 of 4'
    before = box.locator('td').all_inner_texts()
    box.locator('input').press('Home')
    assert box.locator('output').inner_text() == 'epoch 1 of 4'
    assert box.locator('td').all_inner_texts() != before
    filled = box.locator('td[title]:not([title=""])')
    assert ' of ' in filled.first.get_attribute('title')
    tab.close()


def test_commands_are_copied(browser, pages):
    tab, _ = opened(browser, pages['selection'], 1400)
    tab.locator('.command button').first.click()
    tab.wait_for_function("document.querySelector('.command button').textContent !== 'copy'")
    tab.close()

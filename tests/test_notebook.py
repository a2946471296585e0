"""The tutorial notebook, run cell by cell without Jupyter."""

import ast
import json
import os
import subprocess
import time

import numpy as np
import pytest

from dnas_mmseg.raster import Raster, read_raster

from .conftest import DNAS, ROOT

NOTEBOOK = ROOT / 'docs/notebooks/tutorial.ipynb'


def run_cell(source: str, namespace: dict) -> object:
    """Run a cell; return the value of its last expression."""
    lines = [line for line in source.splitlines() if not line.startswith('!')]
    for line in source.splitlines():
        if line.startswith('!'):
            run_command(line[1:])
    *body, last = ast.parse('\n'.join(lines) or 'None').body
    if not isinstance(last, ast.Expr):
        body, last = [*body, last], None
    exec(compile(ast.Module(body, []), NOTEBOOK.name, 'exec'), namespace)
    if last is not None:
        return eval(compile(ast.Expression(last.value), NOTEBOOK.name, 'eval'), namespace)
    return None


def run_command(command: str) -> None:
    environment = {**os.environ, 'PATH': f'{DNAS.parent}:{os.environ["PATH"]}'}
    began = time.monotonic()
    done = subprocess.run(
        ['bash', '-c', command], env=environment, capture_output=True, text=True, timeout=300
    )
    print(f'$ {command}\n{done.stdout}{done.stderr}{time.monotonic() - began:.1f} s')
    assert done.returncode == 0, f'$ {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}'


@pytest.fixture
def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']


def test_the_notebook_has_no_outputs(cells):
    document = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    assert (document['nbformat'], document['nbformat_minor']) == (4, 5)
    assert len({cell['id'] for cell in cells}) == len(cells)
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in cells)


@pytest.mark.long
def test_the_notebook_runs(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MPLBACKEND', 'agg')
    namespace: dict = {}
    shown = [
        run_cell(''.join(cell['source']), namespace)
        for cell in cells
        if cell['cell_type'] == 'code'
    ]
    assert any(hasattr(value, '_repr_html_') and value._repr_html_() for value in shown)
    with Raster('maps/east.tif') as raster:
        assert raster.info.shape == (256, 256)
        assert raster.info.georeference.transform == (4e5 + 512 * 4, 4, 0, 4.4e6, 0, -4)
    assert set(np.unique(read_raster('maps/east.tif'))) <= set(range(5))
    assert (tmp_path / 'maps/polygons/east.gpkg').is_file()
    scores = namespace['scores']
    assert scores['map'] > 2 * scores['most frequent class']

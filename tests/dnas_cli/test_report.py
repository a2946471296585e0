"""Command `dnas report`."""

from dnas_mmseg.apis import SelectionPlan
from dnas_mmseg.spaces.dnas.supernets import DNASPathSupernet

from ..conftest import ROOT, run
from ..search.conftest import searched

TOOL = ROOT / 'tools/analysis_tools/plot_search.py'


def test_the_report_is_written_to_the_work_dir_or_out_dir(tmp_path):
    work_dir = tmp_path / 'search'
    searched(DNASPathSupernet(layers=4, base_channels=2)).save(work_dir / 'path')
    for options, folder in (
        ((), work_dir / 'report'),
        (('--out-dir', tmp_path / 'o'), tmp_path / 'o'),
    ):
        code, output = run(TOOL, work_dir, *options)
        assert code == 0, output
        assert output.splitlines()[-1] == f'{folder}/search.html'
        page = (folder / 'search.html').read_text()
        assert '<h2>Stage path: scale of every layer</h2>' in page
    code, output = run(TOOL, tmp_path / 'o')
    assert code == 1
    assert output.strip().endswith('a search writes it after its first epoch')


def test_selections_are_refused(tmp_path):
    (tmp_path / 'search.json').write_text(SelectionPlan('mine.py', hours=4).to_json(tmp_path))
    code, output = run(TOOL, tmp_path)
    assert code == 1
    assert f'is the work dir of a selection; its report is {tmp_path}/report.html' in output

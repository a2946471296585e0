"""Pictures of tiles."""

from ..conftest import ROOT, run


def test_browsing_draws_what_the_pipeline_yields(data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/browse_dataset.py', ROOT / 'configs/dnas/dnas_l14_gid5.py',
        '--data-root', data_root, '--out-dir', tmp_path / 'pictures', '--number', 2,
    )  # fmt: skip
    assert code == 0, output
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2

"""Command `dnas browse`."""

from ..conftest import ROOT, run


def test_samples_of_the_pipeline_are_drawn(data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/analysis_tools/browse_dataset.py', ROOT / 'configs/dnas/dnas_l14_gid5.py',
        '--data-root', data_root, '--out-dir', tmp_path / 'pictures', '--number', 2,
    )  # fmt: skip
    assert code == 0, output
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2

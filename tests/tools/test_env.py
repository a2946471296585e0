"""What is installed, as `tools/env.py` tells it."""

from ..conftest import ROOT, run


def test_the_environment_check():
    code, output = run(ROOT / 'tools/env.py')
    assert code == 0, output
    assert 'with gdal_array' in output

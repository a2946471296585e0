"""Time and peak memory of calls."""

import time
from pathlib import Path

import numpy as np
import pytest

from dnas_mmseg.cost.measuring import peak_memory, seconds_of


def test_time_of_a_call():
    assert 0.05 <= seconds_of(lambda: time.sleep(0.05), 'cpu') < 0.5


@pytest.mark.skipif(
    not Path('/proc/self/clear_refs').exists(), reason='the system does not report peak memory'
)
def test_peak_memory_includes_freed_memory():
    mebibytes = 64
    peak = peak_memory(lambda: np.ones(mebibytes * 2**20, np.uint8).sum(), 'cpu')
    assert peak / 2**20 == pytest.approx(mebibytes, abs=8)
    # An earlier, larger call does not affect the peak of a small one.
    assert peak_memory(lambda: np.ones(2**20, np.uint8).sum(), 'cpu') / 2**20 < 16

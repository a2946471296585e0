"""Encoding of DenseNAS networks for a surrogate."""

import numpy as np
import pytest

from dnas_mmseg.spaces.densenas.architecture import BlockSpec, DenseNASArchitecture
from dnas_mmseg.spaces.densenas.encoding import encode


def test_a_networks_numbers():
    network = DenseNASArchitecture(
        name='net',
        level='cell',
        stem=8,
        final=0,
        blocks=(
            BlockSpec(8, 'k3t1', (), 1),
            BlockSpec(16, 'k3t3', ('k5t6', 'skip'), 2),
            BlockSpec(32, 'k7t6', ('skip',), 2),
        ),
    )
    code = encode(network).tolist()
    assert code[:5] == [1, 1, 1, 0, 0]  # blocks below stride 4, at 4, at 8, ...
    assert code[5:9] == pytest.approx([1, np.log(8), 3, 1])
    assert code[9:13] == pytest.approx([2, np.log(16), 4, 4.5])  # layers that are skipped are none
    assert code[13:17] == pytest.approx([1, np.log(32), 7, 6])
    assert code[17:] == [0] * 8

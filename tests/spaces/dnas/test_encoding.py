"""Encoding of DNAS networks for a surrogate."""

import numpy as np

from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture, NodeSpec
from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.dnas.encoding import encode
from dnas_mmseg.spaces.scales import STEM, Node


def test_a_networks_numbers():
    ops = ('conv1x1', 'conv3x3', 'sep_conv_3x3')
    first, second, third = Node(0, 0), Node(1, 1), Node(2, 1)
    network = DNASArchitecture(
        name='net',
        level='cell',
        layers=3,
        path=(0, 1, 1),
        nodes=(
            NodeSpec(first, (STEM,), ops),
            NodeSpec(second, (first,), ops),
            NodeSpec(third, (STEM, second), ('conv1x1', 'avg_pool_3x3', 'sep_conv_3x3')),
        ),
    )
    code = encode(network).tolist()
    assert code[:5] == [1, 2, 0, 0, 1]  # layers at each scale, the last scale
    assert code[5:9] == [1, 2, 0, 0]  # nodes
    assert code[9:13] == [0, 1, 0, 0]  # outputs
    assert code[13:15] == [4, 1.5]  # edges, and the layers that they span
    assert code[15:19] == [1, 3, 0, 0]  # edges to each scale
    assert code[19:] == [1, 0.5, 0, 0, 1, 0, 0, 0.5, 0, 0]


def test_networks_are_told_apart(rng):
    codes = [encode(random_architecture(8, rng, 'drawn')) for _ in range(50)]
    assert len({code.shape for code in codes}) == 1
    assert len(np.unique(codes, axis=0)) == 50

"""Encoding of Auto-DeepLab networks for a surrogate."""

from dnas_mmseg.spaces.autodeeplab.architecture import AutoDeepLabArchitecture, Branch
from dnas_mmseg.spaces.autodeeplab.encoding import encode


def test_a_networks_numbers():
    network = AutoDeepLabArchitecture(
        name='net',
        level='cell',
        path=(0, 1, 1, 2),
        cell=(
            (Branch(0, 'sep3'), Branch(1, 'skip')),
            (Branch(1, 'sep3'), Branch(2, 'max3')),
        ),
    )
    code = encode(network).tolist()
    assert code[:4] == [1, 2, 1, 0]  # layers at each scale
    assert code[4:7] == [1, 1, 2]  # mean scale, at the low level, at the end
    assert code[7:14] == [2, 0, 0, 0, 0, 1, 1]  # operations
    assert code[14:] == [1, 2, 2]  # readers of the two cells before, longest chain of blocks

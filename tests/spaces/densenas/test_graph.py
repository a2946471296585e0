"""Routing blocks of DenseNAS spaces."""

import pytest

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.densenas.graph import FAMILIES, dense_space
from dnas_mmseg.spaces.registry import load_architecture

from .conftest import MBCONV, RESNET, SMALL, all_paths


@pytest.mark.parametrize(
    ('arguments', 'blocks', 'paths', 'scalars'),
    [(MBCONV, 17, 15_456, 633), (RESNET, 21, 540_225, 397)],
    ids=['mbconv', 'resnet'],
)
def test_the_published_spaces(arguments, blocks, paths, scalars):
    space = dense_space(**arguments)
    assert len(space.blocks) == blocks
    assert len(all_paths(space)) == paths
    heads, layers = FAMILIES[space.family]
    count = (
        len(space.trellis.edges) + len(space.inner) * len(heads) + len(space.layers) * len(layers)
    )
    assert count == scalars


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(family='vgg'), "block 'vgg' is unknown; available: mbconv, basic"),
        (dict(strides=(2, 4, 8)), 'have 4, 3 and 4 entries; equal'),
        (dict(widths=((4, 5), (6,), (10,), (14,))), r'the first stage is the stem: widths\[0\]'),
        (
            dict(widths=((4,), (8, 6), (10,), (14,))),
            r'widths\[1\] = \[8, 6\]: positive, increasing',
        ),
        (dict(widths=((4,), (), (10,), (14,))), r'widths\[1\] = \[\]: positive, increasing'),
        (dict(strides=(2, 8, 8, 8)), r'strides\[1\] = 8 after 2: an equal or double'),
        (dict(strides=(2, 4, 8, 4)), r'strides\[3\] = 4 after 8'),
        (dict(depths=(0, 1, -1, 0)), r'depths\[2\] = -1'),
        (dict(window=0), 'window = 0'),
        (
            dict(widths=((4,), (6,), (10,), (10,))),
            r'widths\[3\] repeats width 10 of an earlier stage',
        ),
    ],
)
def test_invalid_spaces_raise(changes, message):
    with pytest.raises(ArchitectureError, match=message):
        dense_space(**{**SMALL, **changes})


def test_the_published_networks_are_in_the_published_space():
    space = dense_space(**MBCONV)
    paths = set(all_paths(space))
    for name in ('densenas_a', 'densenas_b', 'densenas_c'):
        assert tuple(space.path_of(load_architecture(name))) in paths
    with pytest.raises(ArchitectureError, match=r'block of width 24 at stride 4 is not in this'):
        dense_space(**SMALL).path_of(load_architecture('densenas_a'))

"""Single changes of a DenseNAS network, by which a selection looks around its best ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .architecture import DenseNASArchitecture
from .decoding import build
from .graph import FAMILIES, STEM_LAYERS, DenseSpace


def random_change(
    space: DenseSpace, network: DenseNASArchitecture, rng: np.random.Generator
) -> DenseNASArchitecture:
    """Return a network that differs in one layer's operation or in one block of its path.

    A block is taken out, put in or exchanged; a new one draws its operations. Each kind is as
    likely as the other where both are possible.

    Args:
        space: Routing blocks and their edges.
        network: Network of the space.
        rng: Source of chance.
    """
    head_names, layer_names = FAMILIES[space.family]
    path = space.walk_of(network)
    paths = _other_paths(space, path)
    specs = network.blocks[len(STEM_LAYERS[space.family]) :]
    known = {block: (spec.head, spec.stack) for block, spec in zip(path[1:], specs, strict=True)}
    layers = [(i, layer) for i, spec in enumerate(specs) for layer in range(len(spec.stack))]
    options = layers + [(i, -1) for i in range(len(specs)) if len(head_names) > 1]
    if paths and (not options or rng.integers(2)):
        path = paths[rng.integers(len(paths))]
        heads, stacks = [], []
        for block in path[1:]:
            head = head_names[rng.integers(len(head_names))]
            drawn = rng.integers(len(layer_names), size=space.blocks[block].depth)
            own_head, own_stack = known.get(block, (head, [layer_names[i] for i in drawn]))
            heads.append(own_head)
            stacks.append(own_stack)
        return build(space, path, heads, stacks, network.name, network.final)
    index, layer = options[rng.integers(len(options))]
    spec = specs[index]
    old = spec.head if layer < 0 else spec.stack[layer]
    others = [name for name in (head_names if layer < 0 else layer_names) if name != old]
    new = others[rng.integers(len(others))]
    if layer < 0:
        spec = spec._replace(head=new)
    else:
        spec = spec._replace(stack=(*spec.stack[:layer], new, *spec.stack[layer + 1 :]))
    place = len(STEM_LAYERS[space.family]) + index
    return replace(network, blocks=(*network.blocks[:place], spec, *network.blocks[place + 1 :]))


def _other_paths(space: DenseSpace, path: list[int]) -> list[list[int]]:
    """Return the paths that have one block more, one less, or another one in its place."""
    edges = set(space.trellis.edges)
    found = []
    for start, before in enumerate(path):
        for length in (0, 1):  # blocks behind `before` that are replaced by `new`
            rest = path[start + 1 + length :]
            if start + 1 + length > len(path):
                continue
            for new in ([], *([block] for block in range(before + 1, space.end))):
                changed = [*path[: start + 1], *new, *rest]
                steps = zip(changed, (*changed[1:], space.end), strict=True)
                if changed != path and all(step in edges for step in steps):
                    found.append(changed)
    return found

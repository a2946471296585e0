"""The DenseNAS search space: stage, config, and sampling, mutation and encoding of networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dnas_mmseg.spaces.registry import register_space
from dnas_mmseg.spaces.scales import NUM_SCALES
from dnas_mmseg.spaces.space import SearchSpace, Stage

from .architecture import BASIC, SKIP, DenseNASArchitecture, kernel_and_expansion
from .decoding import build, random_architecture
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, dense_space


@register_space
class DenseNASSpace(SearchSpace):
    """Search of a path through densely connected blocks, of their depths and operations.

    Source: Fang et al., CVPR 2020 (arXiv 1906.09607), section 3.
    """

    architecture = DenseNASArchitecture
    network = 'DenseNAS'
    config = 'densenas/densenas_a_adamw-ema_gid5.py'
    small_config = 'densenas/densenas_narrow_naip.py'
    encoders = tuple(f'efficientnet_lite{i}' for i in range(3))
    stages = (Stage('cell', 'densenas/densenas_search_gid5.py'),)
    shared = ('in_channels', 'out_indices', 'norm_cfg')

    def sample(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> DenseNASArchitecture:
        return random_architecture(_dense_space(supernet), rng, name, supernet['final'] or 0)

    def mutate(
        self, supernet: Mapping[str, Any], network: DenseNASArchitecture, rng: np.random.Generator
    ) -> DenseNASArchitecture:
        """Return a network that differs in one layer's operation or in one block of its path.

        A block is removed, inserted or replaced; new blocks get random operations. Both kinds are
        equally likely if both are possible.
        """
        space = _dense_space(supernet)
        head_names, layer_names = FAMILIES[space.family]
        path = space.path_of(network)
        paths = _other_paths(space, path)
        specs = network.blocks[len(STEM_LAYERS[space.family]) :]
        known = {
            block: (spec.head, spec.stack) for block, spec in zip(path[1:], specs, strict=True)
        }
        layers = [(i, layer) for i, spec in enumerate(specs) for layer in range(len(spec.stack))]
        options = layers + [(i, -1) for i in range(len(specs)) if len(head_names) > 1]
        if paths and (not options or rng.integers(2)):
            path = paths[rng.integers(len(paths))]
            heads, stacks = [], []
            for block in path[1:]:
                head = head_names[rng.integers(len(head_names))]
                indices = rng.integers(len(layer_names), size=space.blocks[block].depth)
                head, stack = known.get(block, (head, [layer_names[i] for i in indices]))
                heads.append(head)
                stacks.append(stack)
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
        index += len(STEM_LAYERS[space.family])
        return replace(
            network, blocks=(*network.blocks[:index], spec, *network.blocks[index + 1 :])
        )

    def encode(self, network: DenseNASArchitecture) -> np.ndarray:
        """Return the encoding of a network, (features,).

        Features for strides below 4 together, and for each scale: number of blocks; number of
        layers, and their mean log-width, kernel size and expansion.
        """
        rows: dict[int, list[tuple[float, float, float]]] = {}
        blocks = np.zeros(NUM_SCALES + 1)
        for _, (width, scale), block in network.steps:
            row = min(max(scale, -1), NUM_SCALES - 1) + 1
            blocks[row] += 1
            for operation in (block.head, *block.stack):
                if operation == SKIP:
                    continue
                kernel, expansion = (
                    (3, 1) if operation == BASIC else kernel_and_expansion(operation)
                )
                rows.setdefault(row, []).append((np.log(width), kernel, expansion))
        features = [*blocks]
        for row in range(NUM_SCALES + 1):
            layers = rows.get(row, [])
            features += [len(layers), *(np.mean(layers, axis=0) if layers else (0.0, 0.0, 0.0))]
        return np.array(features, float)


def _other_paths(space: DenseSpace, path: list[int]) -> list[list[int]]:
    """Return the paths in which one block is added, removed or replaced."""
    edges = set(space.trellis.edges)
    found = []
    for start, before in enumerate(path):
        for length in (0, 1):  # number of blocks after `before` to replace by `new`
            rest = path[start + 1 + length :]
            if start + 1 + length > len(path):
                continue
            for new in ([], *([block] for block in range(before + 1, space.end))):
                changed = [*path[: start + 1], *new, *rest]
                steps = zip(changed, (*changed[1:], space.end), strict=True)
                if changed != path and all(step in edges for step in steps):
                    found.append(changed)
    return found


def _dense_space(supernet: Mapping[str, Any]) -> DenseSpace:
    keys = ('block', 'widths', 'strides', 'depths', 'window')
    return dense_space(*(supernet[key] for key in keys))

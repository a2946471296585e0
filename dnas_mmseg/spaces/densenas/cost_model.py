"""Costs of the networks of a DenseNAS supernet, and the parts they are summed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dnas_mmseg.cost.parts import (
    Part,
    Parts,
    head_on,
    head_settings,
    norm_fact,
    norm_on_one_device,
)
from dnas_mmseg.cost.table import CostTable, improve_towards_target
from dnas_mmseg.spaces.cost_model import CostModel
from dnas_mmseg.spaces.space import constructor_arguments

from .architecture import SKIP, DenseNASArchitecture
from .cost import decoder_part, expected_cost, head_part, layer_part, network_cost
from .decoding import decode, neighbours, score
from .graph import FAMILIES, STEM_LAYERS, state_trellis
from .network import build_layer, build_stem

if TYPE_CHECKING:
    from .supernet import DenseNASSupernet


class DenseNASCosts(CostModel[DenseNASArchitecture]):
    """Costs of the supernet's networks.

    Args:
        supernet: Supernet whose networks are costed.
        table: Costs of the parts.
    """

    def __init__(self, supernet: DenseNASSupernet, table: CostTable) -> None:
        super().__init__(table)
        self._supernet = supernet

    def cost(self, architecture: DenseNASArchitecture) -> float:
        net = self._supernet
        return network_cost(net.space, architecture, net.scales, self.table)

    def expected(self) -> Tensor:
        """Return the mean cost, see :func:`expected_cost`."""
        net = self._supernet
        edges = net.edge_weights(net.betas.double())
        heads, layers = (
            (alphas.double() / net.temperature).softmax(1)
            for alphas in (net.head_alphas, net.layer_alphas)
        )
        return expected_cost(net.space, edges, heads, layers, net.scales, self.table)

    def decode(self, price: float = 0.0) -> DenseNASArchitecture:
        net = self._supernet
        return decode(net.space, *net.scores(), net.final or 0, net.scales, price, self.table)

    def decode_to(self, target: float) -> DenseNASArchitecture:
        """Return the preferred network that costs about a target, improved by single changes."""
        space, scores = self._supernet.space, self._supernet.scores()
        return improve_towards_target(
            super().decode_to(target),
            partial(neighbours, space),
            lambda network: score(space, network, *scores),
            self.cost,
            target,
        )


def densenas_parts(
    supernet: DenseNASSupernet, model: Mapping[str, Any], size: tuple[int, int]
) -> Parts:
    """Return the parts of the supernet's networks.

    Args:
        supernet: Supernet whose networks are costed.
        model: Config of the segmentor that the found network will be in, whose output stride and
            head count.
        size: Height and width of the images.
    """
    facts = {
        'space': 'densenas',
        'block': supernet.space.family,
        'blocks': [list(block) for block in supernet.space.blocks],
        'output_stride': _output_stride(model),
        'bands': supernet.in_channels,
        'size': list(size),
        'norm': norm_fact(supernet.norm_cfg),
        'head': head_settings(model),
    }
    return Parts(facts, _modules(supernet, model, size))


def _modules(
    supernet: DenseNASSupernet, model: Mapping[str, Any], size: tuple[int, int]
) -> Iterator[Part]:
    norm = norm_on_one_device(supernet.norm_cfg)
    output_stride = _output_stride(model)
    blocks = supernet.space.blocks

    def stride_of(block: int) -> int:
        return min(round(4 * 2 ** blocks[block].scale), output_stride)

    def shape(block: int) -> tuple[int, ...]:
        sides = (-(-side // stride_of(block)) for side in size)
        return (1, blocks[block].width, *sides)

    def layer(operation: str, source: int, target: int) -> nn.Module:
        widths = blocks[source].width, blocks[target].width
        stride = stride_of(target) // stride_of(source)
        dilation = max(1, round(4 * 2 ** blocks[target].scale) // output_stride)
        return build_layer(operation, *widths, stride, dilation, norm)

    width = blocks[0].width
    stem = nn.Sequential(
        build_stem(supernet.in_channels, width, norm),
        *(layer(operation, 0, 0) for operation in STEM_LAYERS[supernet.space.family]),
    )
    yield Part('stem', stem, ((1, supernet.in_channels, *size),))
    head_names, layer_names = FAMILIES[supernet.space.family]
    for i, j in supernet.space.inner:
        for name in head_names:
            yield Part(head_part(i, j, name), layer(name, i, j), (shape(i),))
    for block in dict.fromkeys(owner for owner, _ in supernet.space.layers):
        for name in layer_names:
            if name != SKIP:
                module = layer(name, block, block)
                yield Part(layer_part(block, name), module, (shape(block),))
    for state in state_trellis(supernet.space, supernet.scales).ends:
        shapes = tuple(shape(block) for block in state.left)
        head = head_on(model, [channels for _, channels, *_ in shapes])
        yield Part(decoder_part(state.left), head, shapes)


def _output_stride(model: Mapping[str, Any]) -> int:
    """Return the output stride of the found network; for a supernet's config, the default."""
    backbone = model['backbone']
    network = backbone if backbone['type'] == 'DenseNAS' else dict(type='DenseNAS')
    return constructor_arguments(network)['output_stride']

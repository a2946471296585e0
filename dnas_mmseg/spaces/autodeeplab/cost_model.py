"""Costs of the networks of Auto-DeepLab's supernet, and the parts they are summed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dnas_mmseg.cost.parts import (
    AddedTo,
    Part,
    Parts,
    head_on,
    head_settings,
    norm_fact,
    norm_on_one_device,
)
from dnas_mmseg.cost.table import CostTable, improve_towards_target
from dnas_mmseg.spaces.cost_model import CostModel
from dnas_mmseg.spaces.scales import NUM_SCALES
from dnas_mmseg.spaces.space import constructor_arguments

from .architecture import AutoDeepLabArchitecture
from .cost import branch_part, enter_part, entries, expected_cost, head_part, network_cost
from .decoding import decode, neighbours, score
from .network import (
    CONVOLUTIONS,
    POOLS_AND_SKIP,
    AutoDeepLabStem,
    CellEntry,
    build_operation,
    reduced,
)

if TYPE_CHECKING:
    from .supernet import AutoDeepLabSupernet


class AutoDeepLabCosts(CostModel[AutoDeepLabArchitecture]):
    """Costs of the supernet's networks.

    Args:
        supernet: Supernet whose networks are costed.
        table: Costs of the parts.
    """

    def __init__(self, supernet: AutoDeepLabSupernet, table: CostTable) -> None:
        super().__init__(table)
        self._supernet = supernet

    def cost(self, architecture: AutoDeepLabArchitecture) -> float:
        return network_cost(architecture, self.table)

    def expected(self) -> Tensor:
        """Return the mean cost, see :func:`expected_cost`."""
        net = self._supernet
        edges = net.edge_weights(net.betas.double())
        return expected_cost(
            net.layers, net.blocks, edges, net.alphas.double().softmax(1), self.table
        )

    def decode(self, price: float = 0.0) -> AutoDeepLabArchitecture:
        net = self._supernet
        return decode(net.layers, net.blocks, *net.scores(), price, self.table)

    def decode_to(self, target: float) -> AutoDeepLabArchitecture:
        """Return the preferred network that costs about a target, improved by single changes.

        All layers share the cell, so decoding at a price reaches only costs with wide gaps between.
        """
        scores = self._supernet.scores()
        return improve_towards_target(
            super().decode_to(target),
            neighbours,
            lambda network: score(network, *scores),
            self.cost,
            target,
        )


def autodeeplab_parts(
    supernet: AutoDeepLabSupernet, model: Mapping[str, Any], size: tuple[int, int]
) -> Parts:
    """Return the parts of the supernet's networks.

    Args:
        supernet: Supernet whose networks are costed.
        model: Config of the segmentor that the found network will be in, whose width counts.
        size: Height and width of the images.
    """
    facts = {
        'space': 'autodeeplab',
        'filters': _network_argument(supernet, model, 'filters'),
        'blocks': supernet.blocks,
        'stem_channels': list(_network_argument(supernet, model, 'stem_channels')),
        'bands': supernet.in_channels,
        'size': list(size),
        'norm': norm_fact(supernet.norm_cfg),
        'head': head_settings(model),
    }
    return Parts(facts, _modules(supernet, model, size))


def _modules(
    supernet: AutoDeepLabSupernet, model: Mapping[str, Any], size: tuple[int, int]
) -> Iterator[Part]:
    norm = norm_on_one_device(supernet.norm_cfg)
    filters = _network_argument(supernet, model, 'filters')
    widths = [filters * 2**scale for scale in range(NUM_SCALES)]
    sizes = [reduced(size, 4 * 2**scale) for scale in range(NUM_SCALES)]
    outputs: dict[int | str, tuple[int, ...]] = {
        scale: (1, supernet.blocks * widths[scale], *sizes[scale]) for scale in range(NUM_SCALES)
    }
    stem = _network_argument(supernet, model, 'stem_channels')
    outputs['half'] = (1, stem[1], *reduced(size, 2))
    outputs['stem'] = (1, stem[2], *sizes[0])
    image = (1, supernet.in_channels, *size)
    yield Part('stem', AutoDeepLabStem(supernet.in_channels, stem, norm), (image,))
    for two, one, scale, stride in entries():
        two_shapes = (outputs[two], outputs[one])
        start = sizes[scale - stride + 1]
        channels = [shape[1] for shape in two_shapes]
        entry = _EntryToSize(CellEntry(channels, widths[scale], norm), start)
        yield Part(enter_part(two, one, scale, stride), entry, two_shapes)
    for scale, width in enumerate(widths):
        for stride in (1, 2) if scale else (1,):
            given = (1, width, *sizes[scale - stride + 1])
            for name in (*CONVOLUTIONS, *POOLS_AND_SKIP):
                branch = AddedTo(build_operation(name, width, stride, norm))
                shapes = (given, (1, width, *sizes[scale]))
                yield Part(branch_part(scale, stride, name), branch, shapes)
    for low in range(NUM_SCALES):
        for last in range(NUM_SCALES):
            two_shapes = (outputs[low], outputs[last])
            head = head_on(model, [shape[1] for shape in two_shapes])
            yield Part(head_part(low, last), head, two_shapes)


def _network_argument(supernet: AutoDeepLabSupernet, model: Mapping[str, Any], name: str) -> Any:
    """Return an argument of the network that is found.

    It is taken from the network's config; where the config is of a supernet, from this supernet.
    """
    if model['backbone']['type'] == 'AutoDeepLab':
        return constructor_arguments(model['backbone'])[name]
    return getattr(supernet, name)


class _EntryToSize(nn.Module):
    """A cell's entry that resizes to a fixed size."""

    def __init__(self, entry: CellEntry, size: tuple[int, int]) -> None:
        super().__init__()
        self.entry, self.size = entry, size

    def forward(self, two_before: Tensor, one_before: Tensor) -> list[Tensor]:
        return self.entry(two_before, one_before, self.size)

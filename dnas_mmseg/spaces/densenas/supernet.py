"""Supernet of the DenseNAS space (Fang et al., CVPR 2020, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.cost.parts import Parts
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands
from dnas_mmseg.models.layers.operation import Operation, conv_norm, sum_tensors
from dnas_mmseg.models.layers.recompute import recompute
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.space import network_arguments
from dnas_mmseg.spaces.supernet import Supernet, architecture_parameter, softmax_over

from .architecture import DenseNASArchitecture
from .cost import DenseNASCosts, densenas_parts
from .decoding import decode
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, dense_space
from .network import build_layer, build_stem


class MixedLayer(nn.ModuleDict):
    """A layer with all its operations, a few of which are active in each step.

    Args:
        operations: Operations by name.

    Attributes:
        active: Indices of the active operations; several ones are weighted by a softmax over them.
    """

    def __init__(self, operations: Mapping[str, nn.Module]) -> None:
        super().__init__(operations)
        self.active: tuple[int, ...] = (0,)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """Apply the active operations to (N, C, H, W), with logits ``scores`` (operations,)."""
        operations = list(self.values())
        if len(self.active) == 1:
            return operations[self.active[0]](x)
        weights = scores[list(self.active)].softmax(0)
        return sum_tensors(
            weight * operations[i](x) for weight, i in zip(weights, self.active, strict=True)
        )


@MODELS.register_module()
class DenseNASSupernet(BaseModule, Supernet):
    """Supernet of the DenseNAS space, in which every block reads all possible predecessors.

    The weights of edges are a softmax of ``betas`` (edges,) over the outgoing edges of each block,
    those of operations a softmax of ``head_alphas`` (inner edges, operations) and ``layer_alphas``
    (layers, operations). All blocks are computed in every step, but only one operation per layer in
    a weight step and two in an architecture step (:meth:`sample`). Normalisations are not affine,
    because affine scales could compensate for the weights.

    For classification, a final 1x1 convolution reads the blocks of the last stage, weighted by the
    probability that the path ends there. For segmentation, the same applies to every stride of a
    feature pyramid: 1x1 convolutions read the blocks at which the path can leave the stride,
    weighted by the probability that it does. Thus the decoder reads the mean of the features of all
    networks, and all strides contribute gradients of the path. The searched network returns the
    features of its blocks without these convolutions.

    Source: Fang et al., CVPR 2020 (arXiv 1906.09607), section 3.

    Args:
        block: Type of the blocks, ``'mbconv'`` (inverted bottlenecks) or ``'basic'`` (residual
            blocks).
        widths: Widths of the blocks, by stage; the first stage is the stem's.
        strides: Strides of the stages.
        depths: Numbers of layers after the head layer in each stage's blocks.
        window: Number of following blocks that a block can connect to.
        temperature: Temperature of every softmax.
        final: Number of channels of the final 1x1 convolution of classifiers, which is then the
            only output.
        in_channels: Number of bands of the input.
        out_indices: Indices of the strides to return, among 2, 4, 8, 16, 32; ignored with
            ``final``.
        norm_cfg: Config of the normalisation layers.
        with_cp: Whether to recompute the layers' activations in backward to save memory.
        init_cfg: Config of an initialisation after torch's.

    Attributes:
        space: Routing blocks and their edges.
        out_channels: Numbers of channels of the outputs, finest first: those of the widest block
            that leaves each stride, or ``final``.
        strides: Strides of the outputs.

    Raises:
        ArchitectureError: The space is invalid; the message names the entry.
        UserError: The temperature is not positive, or a stride of ``out_indices`` does not exist.
    """

    def __init__(
        self,
        block: Literal['mbconv', 'basic'] = 'mbconv',
        widths: Sequence[Sequence[int]] = (
            (16,), (24,), (32, 40, 48), (56, 64, 72), (96, 112, 128), (160, 176, 192),
            (320, 352, 384),
        ),
        strides: Sequence[int] = (2, 4, 8, 16, 16, 32, 32),
        depths: Sequence[int] = (0, 3, 3, 3, 3, 3, 0),
        window: int = 4,
        temperature: float = 1.0,
        final: int | None = None,
        in_channels: int = 4,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(init_cfg)
        self.space = space = dense_space(block, widths, strides, depths, window)
        if temperature <= 0:
            raise UserError(f'temperature = {temperature}: a positive number is required')
        self.temperature, self.final, self.in_channels = temperature, final, in_channels
        self.norm_cfg, self.with_cp = norm_cfg, with_cp
        norm = {**norm_cfg, 'affine': False}
        blocks = space.blocks
        self.stem = nn.Sequential(build_stem(in_channels, blocks[0].width, norm))
        for operation in STEM_LAYERS[block]:
            width = blocks[0].width
            self.stem.append(build_layer(operation, width, width, 1, 1, norm))
        head_names, layer_names = FAMILIES[block]
        self.heads = nn.ModuleList(
            MixedLayer(
                {
                    name: build_layer(
                        name, blocks[i].width, blocks[j].width,
                        2 ** (blocks[j].scale - blocks[i].scale), 1, norm,
                    )
                    for name in head_names
                }
            )
            for i, j in space.inner
        )  # fmt: skip
        self.layers = nn.ModuleList(
            MixedLayer(
                {
                    name: build_layer(name, blocks[i].width, blocks[i].width, 1, 1, norm)
                    for name in layer_names
                }
            )
            for i, _ in space.layers
        )
        self.betas = architecture_parameter(len(space.trellis.edges))
        self.head_alphas = architecture_parameter(len(space.inner), len(head_names))
        self.layer_alphas = architecture_parameter(len(space.layers), len(layer_names))

        scales = sorted({b.scale for b in blocks})
        last = blocks[-1].scale
        self.scales = (last,) if final else tuple(sorted({index - 1 for index in out_indices}))
        if not self.scales or not set(self.scales) <= set(scales):
            raise UserError(
                f'out_indices = {tuple(out_indices)}: this space has {len(scales)} strides, '
                f'0 to {len(scales) - 1}'
            )
        leaves = leave_weights(space, self.betas)
        self.laterals = nn.ModuleDict()
        widest = {scale: max(blocks[i].width for i in leaves[scale]) for scale in self.scales}
        self.out_channels = (final,) if final else tuple(widest[scale] for scale in self.scales)
        self.strides = tuple(4 * 2**scale for scale in self.scales)
        for scale, channels in zip(self.scales, self.out_channels, strict=True):
            for i in leaves[scale]:
                convolution = conv_norm(blocks[i].width, channels, 1, norm)
                self.laterals[f'{scale}_{i}'] = Operation(*convolution, nn.ReLU6(), norm=1)
        self._heads_into: dict[int, list[int]] = {}
        for index, (_, target) in enumerate(space.inner):
            self._heads_into.setdefault(target, []).append(index)
        self._layers_of: dict[int, list[int]] = {}
        for index, (owner, _) in enumerate(space.layers):
            self._layers_of.setdefault(owner, []).append(index)
        self.decisions = tuple(decision for decision, _ in self._decided())
        self._before: list[Tensor] = []
        self._activate(*(p.argmax(1, keepdim=True).numpy() for p in self._operation_weights()))

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        return {
            'betas': self.betas,
            'head_alphas': self.head_alphas,
            'layer_alphas': self.layer_alphas,
        }

    def sample(
        self, step: Literal['weights', 'architecture'], searching: bool, rng: np.random.Generator
    ) -> None:
        """Sample the operations of each layer for the next step: one for weights, two otherwise.

        They are sampled uniformly before the first architecture step, then by their probabilities
        without replacement.
        """
        count = 1 if step == 'weights' else 2
        sampled = []
        for weights in self._operation_weights():
            p = weights.cpu().numpy() if searching else np.ones(weights.shape)
            # Gumbel top-k trick: the largest perturbed logarithms are a sample without replacement.
            keys = np.log(p) + rng.gumbel(size=p.shape)
            sampled.append(np.sort(np.argsort(-keys, axis=1, kind='stable')[:, :count], axis=1))
        self._activate(*sampled)
        self._before = [a.detach().clone() for a in (self.head_alphas, self.layer_alphas)]

    @torch.no_grad()
    def after_architecture_step(self) -> None:
        """Preserve the probabilities of operations that were inactive in the architecture step.

        The parameters of inactive operations, which momentum and weight decay change, are restored.
        Those of active operations are shifted so that the sum of their exponentials is unchanged.
        """
        for layers, alphas, before in zip(
            (self.heads, self.layers), (self.head_alphas, self.layer_alphas), self._before,
            strict=True,
        ):  # fmt: skip
            active = torch.zeros_like(alphas, dtype=torch.bool)
            layer: Any
            for row, layer in enumerate(layers):
                active[row, list(layer.active)] = True
            scaled, scaled_before = alphas / self.temperature, before / self.temperature
            new = scaled.masked_fill(~active, -torch.inf).logsumexp(1, keepdim=True)
            old = scaled_before.masked_fill(~active, -torch.inf).logsumexp(1, keepdim=True)
            alphas.copy_(torch.where(active, alphas + self.temperature * (old - new), before))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the pyramid, finest first, or the final map."""
        require_bands(self, x)
        weights = self.edge_weights(self.betas)
        weight = dict(zip(self.space.trellis.edges, weights.unbind(), strict=True))
        maps = {0: self.stem(x.contiguous(memory_format=torch.channels_last))}
        for block in range(1, len(self.space.blocks)):
            maps[block] = sum_tensors(
                weight[self.space.inner[i]]
                * self._run(self.heads[i], maps[self.space.inner[i][0]], self.head_alphas[i])
                for i in self._heads_into[block]
            )
            for i in self._layers_of.get(block, ()):
                maps[block] = self._run(self.layers[i], maps[block], self.layer_alphas[i])
        leaves = leave_weights(self.space, weights)
        return tuple(
            sum_tensors(
                share * self.laterals[f'{scale}_{i}'](maps[i]) for i, share in leaves[scale].items()
            )
            for scale in self.scales
        )

    def probabilities(self) -> list[Tensor]:
        return [p.detach() for _, p in self._decided()]

    def scores(self) -> tuple[list[float], np.ndarray, np.ndarray]:
        """Return log-weights of edges, of head operations and of stack operations."""
        edges = self.edge_weights(self.betas.detach().double()).log()
        heads, layers = (p.double().log().cpu().numpy() for p in self._operation_weights())
        return edges.tolist(), heads, layers

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of edges, (edges,), and of operations, (layers, operations) each."""
        heads, layers = (
            (alphas.double() / self.temperature).softmax(1)
            for alphas in (self.head_alphas, self.layer_alphas)
        )
        return self.edge_weights(self.betas.double()), heads, layers

    def decode(self) -> DenseNASArchitecture:
        return decode(self.space, *self.scores(), self.final or 0)

    def parts(self, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
        stride = network_arguments(model, dict(type='DenseNAS'))['output_stride']
        return densenas_parts(self, self.space, self.scales, stride, model, size)

    def cost_model(self, table: CostTable) -> DenseNASCosts:
        return DenseNASCosts(self.space, self.scales, self.final or 0, self, table)

    def _run(self, layer: nn.Module, x: Tensor, scores: Tensor) -> Tensor:
        if self.with_cp and self.training:
            return recompute(layer, x, scores / self.temperature)
        return layer(x, scores / self.temperature)

    def _activate(self, heads: np.ndarray, layers: np.ndarray) -> None:
        module: Any
        for modules, rows in ((self.heads, heads), (self.layers, layers)):
            for module, row in zip(modules, rows.tolist(), strict=True):
                module.active = tuple(row)

    def edge_weights(self, betas: Tensor) -> Tensor:
        """Return the weights of edges, (edges,), which sum to 1 over outgoing edges of a block."""
        return softmax_over(self.space.trellis.outgoing.values(), betas / self.temperature)

    def _operation_weights(self) -> tuple[Tensor, Tensor]:
        heads, layers = (
            (alphas.detach() / self.temperature).softmax(1)
            for alphas in (self.head_alphas, self.layer_alphas)
        )
        return heads, layers

    def _decided(self) -> Iterator[tuple[Decision, Tensor]]:
        """Yield the decisions with more than one option, and the probabilities of their options."""
        space = self.space
        edges = self.edge_weights(self.betas.detach())
        heads, layers = self._operation_weights()
        head_names, layer_names = FAMILIES[space.family]
        for block, indices in space.trellis.outgoing.items():
            if len(indices) > 1:
                targets = (space.trellis.edges[i][1] for i in indices)
                options = (space.node(j) if j != space.end else 'end' for j in targets)
                yield Decision('outgoing', space.node(block), tuple(options)), edges[indices]
        if len(head_names) > 1:
            for (i, j), p in zip(space.inner, heads, strict=True):
                yield Decision('operation', (*space.node(i), *space.node(j)), head_names), p
        for (block, layer), p in zip(space.layers, layers, strict=True):
            yield Decision('operation', (*space.node(block), layer + 1), layer_names), p


def leave_weights(space: DenseSpace, edge_weights: Tensor) -> dict[int, dict[int, Tensor]]:
    """Return the probability that the path leaves a scale at a block, by scale and block.

    A path leaves every scale that it enters once, or ends there, so the probabilities of a scale
    sum to 1 if all paths enter it.

    Args:
        space: Routing blocks and their edges.
        edge_weights: Weights of the edges, (edges,), which sum to 1 over the outgoing edges of each
            block.
    """
    weights = edge_weights.unbind()
    visits = {0: edge_weights.new_ones(())}
    leaves: dict[int, dict[int, Tensor]] = {}
    for block, spec in enumerate(space.blocks):
        for index in space.trellis.outgoing[block]:
            target = space.trellis.edges[index][1]
            passing = visits[block] * weights[index]
            if target == space.end or space.blocks[target].scale > spec.scale:
                row = leaves.setdefault(spec.scale, {})
                row[block] = row[block] + passing if block in row else passing
            if target != space.end:
                visits[target] = visits[target] + passing if target in visits else passing
    return leaves

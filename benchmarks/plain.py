"""Plain formulation of DNAS with this package's modules, the baseline of the optimised forms.

Every edge resizes its own input, architecture weights multiply the outputs of cells, the head
convolves the concatenated outputs, and tensors have torch's default memory format.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnas_mmseg.spaces.dnas.lattice import Lattice, node_key
from dnas_mmseg.spaces.dnas.supernets import DNASCellSupernet
from dnas_mmseg.spaces.scales import STEM
from dnas_mmseg.spaces.supernet import Supernet


def plain_backbone(lattice: Lattice, x: Tensor) -> tuple[Tensor, ...]:
    """Compute ``lattice(x)`` in the plain formulation."""
    weights = _weights(lattice)
    maps = {STEM: lattice.stem(x)}
    for node, inputs, _ in lattice.architecture.nodes:
        stride = 4 * 2**node.scale
        size = tuple(-(-side // stride) for side in x.shape[2:])
        total = 0
        for i, source in enumerate(inputs):
            if source not in maps:
                continue  # a node without inputs
            cell = lattice.nodes[node_key(node)][node_key(source)]
            resized = F.interpolate(maps[source], size, mode='bilinear', align_corners=True)
            if isinstance(lattice, DNASCellSupernet):
                for operation, weight in zip(cell.values(), weights[node][i], strict=True):
                    total = total + weight * operation(resized)
            elif isinstance(lattice, Supernet):
                out = cell(F.relu(resized))
                total = total + (out if weights[node][i] is None else weights[node][i] * out)
            else:
                total = total + cell(resized)
        if isinstance(total, Tensor):
            maps[node] = total
    return tuple(maps[node] for node in lattice.outputs)


def plain_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Compute the logits of ``model`` at image size in the plain formulation."""
    features = plain_backbone(model.backbone, x)
    size = features[0].shape[2:]
    resized = [F.interpolate(f, size, mode='bilinear', align_corners=True) for f in features]
    head = model.decode_head
    logits = head.cls_seg(head.convs(torch.cat(resized, 1)))
    return F.interpolate(logits, x.shape[2:], mode='bilinear', align_corners=True)


def _weights(lattice: Lattice) -> dict:
    if isinstance(lattice, DNASCellSupernet):
        rows = lattice.alphas.softmax(1)
        return {
            spec.node: [row] * len(spec.inputs)
            for spec, row in zip(lattice.architecture.nodes, rows, strict=True)
        }
    return lattice.edge_weights(lattice.betas) if isinstance(lattice, Supernet) else {}

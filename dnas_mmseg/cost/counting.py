"""Parameters, multiply-adds and activation memory of any model.

There are two counting methods. By operators: torch's ``FlopCounterMode`` counts every executed
convolution and matrix product on tensors without data, so that any size takes seconds. By modules:
the rules of torchstat 0.0.7, which the DNAS paper used; they count leaf modules only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dnas_mmseg.models.layers.upsampled_conv import published_order


@dataclass(frozen=True)
class Complexity:
    """Costs of a forward pass.

    Attributes:
        parameters: Number of parameters of the model, including those that the pass does not use.
        macs: Number of multiply-adds.
        activations: Size of the activations in bytes, as defined by the counting function.
    """

    parameters: int
    macs: int
    activations: int


def count(model: nn.Module, call: Callable[..., Any], *shapes: tuple[int, ...]) -> Complexity:
    """Count a call by operators.

    Multiply-adds are those of convolutions and matrix products. Activations are all tensors that
    operators allocate, without views and in-place results.

    Args:
        model: Model in evaluation mode; it is counted as published
            (:func:`dnas_mmseg.models.layers.upsampled_conv.published_order`).
        call: Function to call, such as ``model`` itself.
        *shapes: Shapes of its float32 inputs.

    Example:
        >>> from torch import nn
        >>> conv = nn.Conv2d(4, 8, 3, padding=1)
        >>> count(conv, conv, (1, 4, 16, 16))
        Complexity(parameters=296, macs=73728, activations=8192)
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton

    # Torch counts the fused attention of GPUs only.
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}

    device = next(model.parameters(), torch.zeros(0)).device
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(published_order())
        stack.enter_context(_separate_attention())
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        inputs = [torch.empty(shape, device=device) for shape in shapes]
        flops = stack.enter_context(FlopCounterMode(display=False, custom_mapping=attention))
        allocated = stack.enter_context(_AllocatedBytes())
        call(*inputs)
    return Complexity(count_parameters(model), flops.get_total_flops() // 2, allocated.bytes)


def count_by_modules(
    model: nn.Module, call: Callable[..., Any], *shapes: tuple[int, ...]
) -> Complexity:
    """Count a call by the rules of torchstat 0.0.7.

    Multiply-adds are ``k^2 * C_in / groups * C_out * H * W`` plus the bias for convolutions, twice
    the number of elements for batch norms, the number of elements for ReLU and pooling, and zero
    for all other modules. Activations are the outputs of all leaf modules, including dropout.

    Args:
        model, call, *shapes: Arguments of :func:`count`.
    """
    macs = activations = 0

    def count_module(module: nn.Module, inputs: tuple, output: Any) -> None:
        nonlocal macs, activations
        if isinstance(output, Tensor):
            macs += _torchstat_macs(module, inputs[0], output)
            activations += output.numel() * output.element_size()

    leaves = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count_module) for module in leaves]
    try:
        with torch.no_grad(), published_order(), FakeTensorMode(allow_non_fake_inputs=True):
            call(*(torch.empty(shape) for shape in shapes))
    finally:
        for handle in handles:
            handle.remove()
    return Complexity(count_parameters(model), macs, activations)


def _attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *args: Any, **kwargs: Any
) -> int:
    """Return the operations of attention on shapes (batch, heads, positions, channels)."""
    return 2 * query[:-1].numel() * key[-2] * (query[-1] + value[-1])


@contextmanager
def _separate_attention() -> Iterator[None]:
    """Disable the operator that computes a whole attention layer, which torch does not count."""
    is_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_enabled)


class _AllocatedBytes(TorchDispatchMode):
    """Mode that sums the sizes of newly allocated tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.native_batch_norm.default and args[5] is False:
            # Shapes only, as torch decomposes batch norms in Python: 0.7 ms each. In evaluation
            # mode their saved statistics are empty.
            x = args[0]
            result: Any = torch.empty_like(x), x.new_empty(0), x.new_empty(0)
        else:
            result = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        if not any(r.alias_info for r in returns):
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor):
                    self.bytes += tensor.numel() * tensor.element_size()
        return result


def _torchstat_macs(module: nn.Module, x: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        per_value = x.shape[1] // module.groups * module.kernel_size[0] * module.kernel_size[1]
        return output.numel() * (per_value + (module.bias is not None))
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return 2 * x.numel()
    pools = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.ReLU)
    return x.numel() if isinstance(module, pools) else 0


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(p.numel() for p in model.parameters())

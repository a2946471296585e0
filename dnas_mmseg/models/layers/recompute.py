"""Activation checkpointing that updates running statistics once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute(
    function: Callable[..., Tensor], *inputs: Tensor, norms_of: nn.Module | None = None
) -> Tensor:
    """Return ``function(*inputs)`` and recompute it in backward to save memory.

    The recomputation normalises by batch statistics as the first pass does, but does not update the
    running statistics again.

    Args:
        function: Module, or function that calls one.
        *inputs: Tensors stored for backward.
        norms_of: Module that contains the batch norms; required if ``function`` is not a module.
    """
    module = function if norms_of is None else norms_of
    assert isinstance(module, nn.Module)
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), untracked_statistics(module)),
    )


@contextmanager
def untracked_statistics(module: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of batch norms, which still normalise by batch statistics.

    Their momentum is 0, so that the same kernels run and the statistics do not change.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, counter in before:
            norm.momentum, norm.num_batches_tracked = momentum, counter

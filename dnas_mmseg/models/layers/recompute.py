"""Recomputation in backward that leaves batch norm's running statistics alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute(
    function: Callable[..., Tensor], *inputs: Tensor, norms_of: nn.Module | None = None
) -> Tensor:
    """Return ``function(*inputs)``, and compute it again in backward to save memory.

    The second computation normalises by the batch as the first did, but does not count the batch
    in the running statistics again.

    Args:
        function: Module, or function that calls one.
        *inputs: Tensors that are kept for backward.
        norms_of: Module that ``function`` calls, where ``function`` is none itself.
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
    """Let batch norms in training normalise by the batch without tracking its statistics.

    They update with a momentum of 0: the same kernels run, the statistics stay.
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

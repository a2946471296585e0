"""End of the processes of data loaders."""

from __future__ import annotations

from mmengine.runner import Runner
from torch.utils.data import DataLoader


def stop_loaders(runner: Runner) -> None:
    """End the processes of all loaders of a runner that has finished."""
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        loader = getattr(loop, 'dataloader', None)  # loops that have not run are configs
        if isinstance(loader, DataLoader):
            stop_loader(loader)
        endless = getattr(loop, 'dataloader_iterator', None)  # of a loop by iterations
        _stop(getattr(endless, '_iterator', None))


def stop_loader(loader: DataLoader) -> None:
    """End the persistent processes of a loader; it starts new ones when it is used again.

    They would end with the loader, but garbage collection waits five seconds for each: it closes
    the queue through which torch asks them to end first.
    """
    if loader._iterator is not None:
        _stop(loader._iterator)
        loader._iterator = None


def _stop(iterator: object) -> None:
    stop = getattr(iterator, '_shutdown_workers', None)  # without processes there is none
    if stop is not None:
        stop()

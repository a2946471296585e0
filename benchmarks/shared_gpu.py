"""Training runs per hour of several workers that share a GPU.

    python -m benchmarks.shared_gpu --workers 1 2 4 8
    nvidia-cuda-mps-control -d && python -m benchmarks.shared_gpu    # with NVIDIA's MPS

For ``dnas select --workers N`` on one GPU: the number of workers from which training runs no longer
finish sooner. Each worker runs a candidate's training on the NAIP tiles as a selection does, with
its loader, validation and checkpoint; the start of the processes and their imports are not counted.
``DNAS_DATA`` is the folder of the data, as for :mod:`benchmarks.candidates`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from benchmarks.candidates import NETWORKS, build_config
from benchmarks.rows import folder_name
from dnas_mmseg.engine.length import scale_schedule
from dnas_mmseg.engine.running import train
from dnas_mmseg.selection.trainings import set_average, set_hooks, set_loaders

from .side_by_side import machine, table

_PATIENCE = 120.0
"""Seconds to wait for the start of all processes; one of them may have failed."""


def run_training(network: str, epochs: int, work_dir: Path, together: Barrier) -> None:
    """Train a network as a candidate.

    Args:
        network: Name of a network of :mod:`benchmarks.candidates`.
        epochs: Number of epochs.
        work_dir: Work dir of the training.
        together: Barrier at which all processes start to train.
    """
    torch.set_num_threads(1)
    config = build_config('naip', network, work_dir)
    scale_schedule(config, epochs)
    set_average(config)
    set_loaders(config)
    set_hooks(config, epochs)
    together.wait(_PATIENCE)
    train(config)


def seconds_of_trainings(network: str, epochs: int, count: int, folder: Path) -> float | None:
    """Return the seconds of parallel training runs; None if one of them failed."""
    context = multiprocessing.get_context('spawn')
    together = context.Barrier(count + 1)
    processes = [
        context.Process(target=run_training, args=(network, epochs, folder / str(i), together))
        for i in range(count)
    ]
    for process in processes:
        process.start()
    try:
        together.wait(_PATIENCE)
    except threading.BrokenBarrierError:
        for process in processes:
            process.terminate()
    began = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - began
    return None if any(process.exitcode for process in processes) else seconds


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        '--networks', nargs='+', choices=NETWORKS, default=['DNAS L=12 released, base 16']
    )
    options.add_argument('--workers', type=int, nargs='+', default=[1, 2, 4, 8])
    options.add_argument('--epochs', type=int, default=12)
    args = options.parse_args()
    rows: list[list[object]] = []
    for network in args.networks:
        alone = None
        for count in args.workers:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / folder_name(network)
                seconds = seconds_of_trainings(network, args.epochs, count, path)
            if seconds is None:
                rows.append([network, count, 'failed', ''])
                continue
            rate = 3600 * count / seconds
            alone = rate if count == 1 else alone
            relative = f'{rate / alone:.2f}' if alone else ''
            rows.append([network, count, f'{rate:.0f}', relative])
    print(f'{args.epochs} epochs on the NAIP tiles; {machine()}\n')
    print(table(['Network', 'workers', 'training runs an hour', 'relative to one'], rows))


if __name__ == '__main__':
    main()

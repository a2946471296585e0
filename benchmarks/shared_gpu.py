"""Training steps per second of several processes that share a GPU.

    python -m benchmarks.shared_gpu --workers 1 2 4 8
    nvidia-cuda-mps-control -d && python -m benchmarks.shared_gpu    # with NVIDIA's MPS

For ``dnas select --workers N`` on one GPU: the number of workers from which trainings no longer
finish sooner. Each process trains the same network on noise for the same seconds.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.models import place
from dnas_mmseg.models.layers.input_bands import count_input_bands
from dnas_mmseg.search.time import noise_batch

from .side_by_side import machine, parser, table


def count_steps(
    config_path: str, size: int, seconds: float, device: str, together: Barrier, result: Any
) -> None:
    """Put the number of training steps in some seconds into a queue.

    Args:
        config_path: Path of a config.
        size: Side of the crops, in pixels.
        seconds: Duration of the measurement.
        device: Device to train on.
        together: Barrier at which all processes start to measure.
        result: Queue of the numbers of steps.
    """
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    config = load_config(config_path)
    model = place(MODELS.build(config.model).train(), device)
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    batch = noise_batch(
        model.data_preprocessor, 4, count_input_bands(model.backbone), (size, size), 5
    )

    def step() -> None:
        data = model.data_preprocessor(copy.copy(batch), True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.update_params(loss)
        loss.item()  # as the hooks of a training, which wait for each step

    for _ in range(3):
        step()
    together.wait(timeout=120)  # an error if another process failed, as without memory
    steps, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        step()
        steps += 1
    result.put(steps)


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--config', default='configs/dnas/dnas_l12_w16_naip.py')
    options.add_argument('--size', type=int, default=128, help='side of the crops')
    options.add_argument('--workers', type=int, nargs='+', default=[1, 2, 4, 8])
    options.add_argument('--seconds', type=float, default=15.0, help='duration of each row')
    options.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    args = options.parse_args()
    context = multiprocessing.get_context('spawn')
    rows: list[list[object]] = []
    for count in args.workers:
        together, result = context.Barrier(count), context.SimpleQueue()
        settings = (args.config, args.size, args.seconds, args.device, together, result)
        processes = [context.Process(target=count_steps, args=settings) for _ in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            print(f'{count} workers: failed', flush=True)
            continue
        rate = sum(result.get() for _ in processes) / args.seconds
        first = rows[0][1] if rows else rate
        rows.append([count, round(rate, 1), f'{rate / float(str(first)):.2f}'])
    print(f'batch 4 of {args.size} x {args.size}, {args.device}; {machine()}\n')
    print(table(['Workers', 'steps per second', 'relative'], rows))


if __name__ == '__main__':
    main()

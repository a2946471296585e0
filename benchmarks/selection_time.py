"""Time profile of the training runs of a selection.

    DNAS_DATA=... python -m benchmarks.selection_time
    DNAS_DATA=... python -m benchmarks.selection_time --epochs 24 --trainings 3

Trains candidates like a worker of ``dnas select``, sequentially in one process and thread: random
networks of DNAS (8 layers, base 16) on the NAIP tiles. The first training includes the start-up
costs of the process.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from dnas_mmseg.datasets.tile_cache import keep_tiles
from dnas_mmseg.selection.algorithm import Request
from dnas_mmseg.selection.candidates import CandidateSet
from dnas_mmseg.selection.plan import SelectionPlan
from dnas_mmseg.selection.trainings import TILE_MEMORY, CandidateTrainings

from .rows import ROOT
from .side_by_side import machine

PARTS = ('building', 'steps', 'tiles', 'between epochs', 'validation', 'end')
_seconds: dict[str, float] = {}
_last = 0.0


def _spend(part: str) -> None:
    """Add the time since the last call to a part."""
    global _last
    now = time.perf_counter()
    _seconds[part] = _seconds.get(part, 0.0) + now - _last
    _last = now


@HOOKS.register_module()
class FirstTimeHook(Hook):
    """Hook that ends a part before all other hooks."""

    priority = 'HIGHEST'

    def before_train_epoch(self, runner: Runner) -> None:
        _spend('between epochs' if runner.epoch else 'building')

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        _spend('tiles')

    def before_val(self, runner: Runner) -> None:
        _spend('between epochs')


@HOOKS.register_module()
class LastTimeHook(Hook):
    """Hook that ends a part after all other hooks."""

    priority = 'LOWEST'

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        _spend('steps')

    def after_val(self, runner: Runner) -> None:
        _spend('validation')


class TimedTrainings(CandidateTrainings):
    """Trainings with both timing hooks."""

    def config(self, key: str, content: Mapping[str, Any], rung: int) -> Config:
        config = super().config(key, content, rung)
        hooks = [dict(type='FirstTimeHook'), dict(type='LastTimeHook')]
        config.custom_hooks = [*config.custom_hooks, *hooks]
        return config


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--epochs', type=int, nargs='+', default=[24, 3])
    parser.add_argument('--trainings', type=int, default=3)
    args = parser.parse_args()
    imports = time.process_time()
    torch.set_num_threads(1)
    plan = SelectionPlan(
        config=str(ROOT / 'configs/dnas/dnas_l12_w16_naip.py'),
        hours=1.0,
        data_root=str(Path(os.environ['DNAS_DATA']) / 'naip_rgbn'),
        families=('dnas',),
        layers=8,
    )
    candidates = CandidateSet(plan)
    rng = np.random.default_rng(0)
    keep_tiles(TILE_MEMORY)  # as a worker does
    gc.freeze()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        trainings = TimedTrainings(candidates, Path(folder))
        trainings.lists()
        for i in range(args.trainings):
            network = candidates.random(rng)
            for epochs in args.epochs:
                global _last
                _seconds.clear()
                began = _last = time.perf_counter()
                content = trainings.content(Request(network, 0, 0), [epochs], [1])
                trainings.run(f'{i}.{epochs}-0-0', content)
                _spend('end')
                rows.append((i + 1, epochs, time.perf_counter() - began, dict(_seconds)))
    print(f'{machine()}; a process of its own would begin with {imports:.1f} s of imports\n')
    print(f'| Training | Epochs | Seconds | {" | ".join(PARTS)} |')
    print('|---:' * (len(PARTS) + 3) + '|')
    for number, epochs, seconds, parts in rows:
        shares = ' | '.join(f'{100 * parts.get(part, 0) / seconds:.1f} %' for part in PARTS)
        print(f'| {number} | {epochs} | {seconds:.1f} | {shares} |')


if __name__ == '__main__':
    main()

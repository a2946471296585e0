"""Overhead of the search hook in a gradient search with two processes.

    python -m benchmarks.hook_overhead

Runs the cell stage of DNAS L=12 on synthetic tiles with the pipeline of ``dnas search``; gloo, one
thread per process. An iteration consists of a step of the weights and one of the architecture
parameters. The hook's own time excludes forward and backward passes: sampling, loading a batch of
half B, averaging gradients over the processes, the optimizer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.models import SearchedEncoderDecoder
from dnas_mmseg.search.hook import ArchitectureSearchHook
from dnas_mmseg.shipped import CONFIGS

from .loading import write_tiles
from .side_by_side import machine, table


class Stopwatch:
    """Timer of all calls of a function, or only of those within another timed function."""

    def __init__(self, owner: object, name: str, within: Stopwatch | None = None) -> None:
        self.seconds, self.calls, self.running = 0.0, 0, False
        function = getattr(owner, name)

        def timed(*args, **kwargs):
            if within is not None and not within.running:
                return function(*args, **kwargs)
            began, self.running = time.perf_counter(), True
            try:
                return function(*args, **kwargs)
            finally:
                self.running = False
                self.seconds += time.perf_counter() - began
                self.calls += 1

        setattr(owner, name, timed)


def search_timed(folder: Path) -> None:
    """Run a timed search in one of the processes; rank 0 writes the table."""
    torch.set_num_threads(1)
    iterations = Stopwatch(EpochBasedTrainLoop, 'run_iter')
    before = Stopwatch(ArchitectureSearchHook, 'before_train_iter')
    after = Stopwatch(ArchitectureSearchHook, 'after_train_iter')
    forward = Stopwatch(SearchedEncoderDecoder, 'loss', within=after)
    backward = Stopwatch(torch.autograd, 'grad', within=after)
    plan = SearchPlan(
        config=str(CONFIGS / 'dnas/dnas_l12_gid5.py'),
        layers=12,
        levels=('cell',),
        architecture='dnas_l12_gid5@connection',
        epochs=1,
        arch_start=0,
        crop=256,
        batch=2,
        options={
            f'{split}_dataloader.dataset.data_root': str(folder) for split in ('train', 'val')
        },
    )
    search(plan, folder / 'search', launcher='pytorch')
    if get_rank() == 0:
        hook = before.seconds + after.seconds
        own = hook - forward.seconds - backward.seconds
        seconds = (iterations.seconds, hook, own)
        names = ('whole', 'in the hook', "the hook's own")
        rows = [
            [
                name,
                'iteration',
                f'{value / iterations.calls:.3f}',
                f'{100 * value / seconds[0]:.2f}',
            ]
            for name, value in zip(names, seconds, strict=True)
        ]
        (folder / 'table.md').write_text(
            f'{iterations.calls} iterations of 2 x 2 x 4 x 256 x 256; two processes, {machine()}'
            f'\n\n{table(["Part", "of an", "s", "%"], rows)}'
        )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    folder = options.parse_args().folder
    if folder is not None:
        search_timed(folder)
        return
    with tempfile.TemporaryDirectory() as name:
        write_tiles(Path(name))
        twice = ['torch.distributed.run', '--nproc_per_node=2', '--standalone']
        command = [sys.executable, '-m', *twice, '-m', __spec__.name, '--folder', name]
        subprocess.run(command, check=True, stdout=sys.stderr)
        print((Path(name) / 'table.md').read_text())


if __name__ == '__main__':
    main()

"""Measurement of calls in alternating rounds, so that other load affects all of them alike."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from rich.progress import track

from dnas_mmseg.cost.measuring import peak_memory, seconds_of
from dnas_mmseg.cost.parts import processor_name

Key = TypeVar('Key', bound=Hashable)


class Measured(NamedTuple):
    """Median seconds of a call, and its peak memory above the start in MiB."""

    seconds: float
    memory: float


def measure(
    calls: Mapping[Key, Callable[[], Any]], repeat: int, device: str = 'cpu'
) -> dict[Key, Measured]:
    """Measure calls in alternating rounds: one warm-up, one for memory, ``repeat`` for time."""
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    memory = {}
    for turn in track(range(repeat + 2), 'turns', transient=True):
        for key, call in calls.items():
            if turn == 1:
                memory[key] = (peak_memory(call, device) or 0) / 2**20
            else:
                seconds[key].append(seconds_of(call, device))
    return {key: Measured(statistics.median(seconds[key][1:]), memory[key]) for key in calls}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; all columns but the first two are right-aligned."""
    rule = ['---', '---', *['---:'] * (len(head) - 2)]
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in (head, rule, *rows))


def machine() -> str:
    """Describe the number of threads, the processor, the version of torch and the date."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
    today = time.strftime('%Y-%m-%d')
    return f'{torch.get_num_threads()} threads, {where}, torch {torch.__version__}, {today}'


def parser(description: str, repeat: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options common to all benchmarks."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument('--threads', type=int, default=torch.get_num_threads())
    if repeat is not None:
        options.add_argument('--repeat', type=int, default=repeat, help='number of measured runs')
    return options

"""Time and peak memory of a call on this machine."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Return the time of a call in seconds, measured by CUDA events on GPUs."""
    if device.startswith('cuda'):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    _wait_for(device)
    began = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - began


def _wait_for(device: str) -> None:
    """Wait until an accelerator has finished, such as ``mps``, which computes asynchronously."""
    synchronize = getattr(getattr(torch, device.partition(':')[0], None), 'synchronize', None)
    if synchronize is not None:
        synchronize()


def peak_memory(call: Callable[[], Any], device: str) -> int | None:
    """Return the peak memory that a call adds, in bytes; None if the system does not report it.

    On GPUs it is the memory of torch's allocator, on CPUs the resident set. Free memory is returned
    to the system before the call, which slows the call down, so do not time it as well.
    """
    if device.startswith('cuda'):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    try:
        gc.collect()
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')  # resets the peak
        before = _resident('VmRSS')
    except (OSError, AttributeError):
        call()
        return None
    call()
    return _resident('VmHWM') - before


def _resident(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))

"""Time, memory and open files of one ``predict_scenes`` call for many small scenes.

    python -m benchmarks.many_scenes --tiles 2000 --threads 1

Maps tiles of 256 x 256 in four bands with the pretrained model ``naip_small``, by torch and, if it
is installed, by OpenVINO in bfloat16. The network alone predicts windows in the same batches before
and after the call. The overhead is the rest of the call: checks, reading, blending, writing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from mmengine.config import Config
from osgeo import osr
from torch import nn

from dnas_mmseg.cpus import keep_freed_memory
from dnas_mmseg.mapping.loading import Backend, load_model
from dnas_mmseg.mapping.pretrained import get_pretrained_model
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import GeoReference, write_raster

from .side_by_side import machine, parser, table

MODEL = 'naip_small'
BANDS = ('red', 'green', 'blue', 'nir')
SIDE = 256
ENGINES: dict[Backend, str] = {'torch': 'float32', 'openvino': 'bfloat16'}
ALONE = 100
"""Windows that the network predicts alone, before and after the call."""


class State(NamedTuple):
    """Memory in MiB and number of open files of this process."""

    memory: float
    files: int

    @classmethod
    def read(cls) -> State:
        """Return the current state."""
        process = psutil.Process()
        return cls(process.memory_info().rss / 2**20, process.num_fds())


class Result(NamedTuple):
    """Seconds per tile of the call and of the network alone; the state after 10 % and all tiles."""

    seconds: float
    network: float
    early: State
    late: State

    @property
    def overhead(self) -> float:
        """Time of the call in addition to the network's, relative to the latter."""
        return self.seconds / self.network - 1


def write_tiles(folder: Path, count: int) -> list[Path]:
    """Write georeferenced tiles of smooth noise."""
    rng = np.random.default_rng(0)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32617)
    crs = reference.ExportToWkt()
    paths = []
    for number in range(count):
        coarse = rng.integers(30, 220, (len(BANDS), SIDE // 8, SIDE // 8))
        samples = coarse.repeat(8, 1).repeat(8, 2) + rng.integers(-20, 20, (len(BANDS), SIDE, SIDE))
        place = GeoReference(crs, 0.0, (5e5 + 160 * number, 0.6, 0.0, 4e6, 0.0, -0.6))
        paths.append(folder / f'tile_{number}.tif')
        write_raster(paths[-1], samples.astype(np.uint8), names=BANDS, georeference=place)
    return paths


def measure_tiles(model: Any, tiles: list[Path], out: Path) -> Result:
    """Map tiles in one call, and measure the network alone before and after it."""
    windows = SegmentorWindows(model) if isinstance(model, nn.Module) else model
    rng = np.random.default_rng(1)
    images = [torch.from_numpy(rng.integers(0, 255, (4, SIDE, SIDE)).astype(np.uint8))]
    windows.logits(images)
    alone = [_seconds(lambda: windows.logits(images)) for _ in range(ALONE)]
    states: dict[int, State] = {}
    marks = {max(1, len(tiles) // 10), len(tiles)}

    def advance(done: int, total: int) -> None:  # a tile has one window
        if done in marks:
            states[done] = State.read()

    tiling = Tiling(window=SIDE, overlap=SIDE // 4)
    seconds = _seconds(
        lambda: predict_scenes(
            model, tiles, out, bands=BANDS, tiling=tiling, track=lambda _: advance
        )
    )
    alone += [_seconds(lambda: windows.logits(images)) for _ in range(ALONE)]
    early, late = (states[mark] for mark in sorted(marks))
    return Result(seconds / len(tiles), statistics.mean(alone), early, late)


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--tiles', type=int, default=2000, help='number of tiles')
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)  # which OpenVINO's threads follow
    keep_freed_memory()  # as the command does
    files = get_pretrained_model(MODEL)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tiles = write_tiles(Path(folder), args.tiles)
        for engine, precision in ENGINES.items():
            if find_spec(engine) is None:
                print(f'{engine} is not installed')
                continue
            model = load_model(
                files.weights,
                lambda: Config.fromfile(files.config),
                backend=engine,
                precision=None if engine == 'torch' else precision,
                device='cpu',
                window=SIDE,
            )
            result = measure_tiles(model, tiles, Path(folder) / engine)
            rows.append(
                [
                    engine,
                    precision,
                    f'{1000 * result.seconds:.1f}',
                    f'{1000 * result.network:.1f}',
                    f'{result.overhead:.0%}',
                    f'{result.early.memory:.0f} / {result.late.memory:.0f}',
                    f'{result.early.files} / {result.late.files}',
                ]
            )
    print(f'{args.tiles} tiles of {SIDE} x {SIDE}, {machine()}')
    head = ['engine', 'precision', 'ms a tile', 'network alone, ms', 'overhead']
    print(table([*head, 'MiB at 10 % / 100 %', 'open files'], rows))


if __name__ == '__main__':
    main()

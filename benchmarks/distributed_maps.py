"""A large scene mapped by one process and by Dask workers, and a planned virtual mosaic.

    python -m benchmarks.distributed_maps
    python -m benchmarks.distributed_maps --mosaic 100000

Maps a synthetic 8-bit scene of the size of GID's with the pretrained model naip_small: by one
process, and by one and two Dask workers, one thread each, in alternation. Seconds exclude the start
of processes and the loading of the model. The maps must be equal to the byte. With ``--mosaic``, a
VRT of that many pixels a side is planned, its first and its last block are mapped, and the time of
the whole is extrapolated.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from dnas_mmseg.cpus import keep_freed_memory
from dnas_mmseg.mapping.dask_cluster import open_cluster
from dnas_mmseg.mapping.loading import ModelSource
from dnas_mmseg.mapping.map_plan import plan_scenes
from dnas_mmseg.mapping.pretrained import get_pretrained_model
from dnas_mmseg.mapping.scene import Tiling, predict_block
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.shares import divide_jobs
from dnas_mmseg.preparation.synthetic import make_scene
from dnas_mmseg.raster import GeoReference, write_raster

from .scene_map import in_a_process
from .side_by_side import machine, parser, table

_BANDS = ('red', 'green', 'blue', 'nir')
_PLACE = GeoReference(transform=(300000.0, 0.6, 0.0, 4000000.0, 0.0, -0.6))


def source() -> ModelSource:
    model = get_pretrained_model('naip_small')
    return ModelSource(str(model.weights), str(model.config), device='cpu')


def peak_mib() -> float:
    """Return the peak memory of this process in MiB."""
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 1024


def by_one_process(scene: str, small: str, out: str) -> tuple[float]:
    keep_freed_memory()  # as the command and the workers do
    model = source().load()
    predict_scenes(model, [small], f'{out}-warm')
    began = time.perf_counter()
    predict_scenes(model, [scene], out)
    return (time.perf_counter() - began,)


def by_dask(workers: int, scene: str, small: str, out: str) -> tuple[float, float, float]:
    """Return seconds, peak MiB of the largest worker, and seconds until it was ready."""
    model = source().load()
    began = time.perf_counter()
    with open_cluster(f'local:{workers}', source()) as cluster:
        cluster.client.run(load_once, cluster.model, small, f'{out}-warm')
        ready = time.perf_counter() - began
        began = time.perf_counter()
        predict_scenes(model, [scene], out, cluster=cluster)
        seconds = time.perf_counter() - began
        memory = max(cluster.client.run(peak_mib).values())
    return seconds, memory, ready


def load_once(model: ModelSource, small: str, out: str) -> None:
    """Load the model of a worker, and map a small scene."""
    import os

    from dnas_mmseg.mapping.dask_tasks import load_model_once

    predict_scenes(load_model_once(model), [small], f'{out}-{os.getpid()}')


def write_mosaic(path: Path, piece: Path, side: int) -> None:
    """Write a VRT that repeats a raster."""
    step = 1024
    bands = []
    for band, name in enumerate(_BANDS, 1):
        sources = ''.join(
            f'<SimpleSource><SourceFilename>{escape(str(piece))}</SourceFilename><SourceBand>{band}'
            '</SourceBand><SrcRect xOff="0" yOff="0" xSize="1024" ySize="1024"/>'
            f'<DstRect xOff="{column}" yOff="{row}" xSize="1024" ySize="1024"/></SimpleSource>'
            for row in range(0, side, step)
            for column in range(0, side, step)
        )
        bands.append(
            f'<VRTRasterBand dataType="Byte" band="{band}"><Description>{name}</Description>'
            f'{sources}</VRTRasterBand>'
        )
    place = ', '.join(str(value) for value in _PLACE.transform or ())
    path.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><GeoTransform>{place}'
        f'</GeoTransform>{"".join(bands)}</VRTDataset>'
    )


def map_mosaic(mosaic: str, out: str, workers: int) -> tuple[float, int, int, float, float, float]:
    """Plan a mosaic and map its first and last block; return seconds, blocks, windows and MiB."""
    keep_freed_memory()
    model = source().load()
    began = time.perf_counter()
    plan = plan_scenes(model, [mosaic], out)
    (share,) = divide_jobs(plan.jobs, Tiling(), workers)
    planned, before = time.perf_counter() - began, peak_mib()
    seconds = []
    for block in (share.blocks[0], share.blocks[-1]):
        began = time.perf_counter()
        predict_block(model, plan.jobs[0].source, block, f'{out}/{block.top}')
        seconds.append(time.perf_counter() - began)
    return (planned, len(share.blocks), share.blocks[0].bottom, *seconds, before)


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--height', type=int, default=6800)
    options.add_argument('--width', type=int, default=7200)
    options.add_argument('--repeats', type=int, default=2)
    options.add_argument('--mosaic', type=int, default=0, help='side of the mosaic, in pixels')
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        piece, _ = make_scene(1024, seed=0)
        write_raster(folder / 'piece.tif', piece, names=_BANDS, georeference=_PLACE)
        if args.mosaic:
            write_mosaic(folder / 'mosaic.vrt', folder / 'piece.tif', args.mosaic)
            planned, blocks, rows, first, last, before, peak = in_a_process(
                map_mosaic, str(folder / 'mosaic.vrt'), str(folder / 'maps'), 2, threads=1
            )
            print(
                f'{args.mosaic} x {args.mosaic}: planned in {planned:.1f} s, {blocks} blocks, the '
                f'first of {rows} rows; first {first:.0f} s, last {last:.0f} s, all about '
                f'{(first + last) / 2 * blocks / 3600:.1f} h on one core; {before:.0f} MiB before '
                f'the first block, peak {peak:.0f} MiB; {machine()}'
            )
            return
        scene, small = str(folder / 'scene.tif'), str(folder / 'piece.tif')
        repeats = (1, -(-args.height // 1024), -(-args.width // 1024))
        write_raster(
            scene, np.tile(piece, repeats)[:, : args.height, : args.width], names=_BANDS,
            georeference=_PLACE,
        )  # fmt: skip
        rows = []
        for repeat in range(args.repeats):
            one, memory = in_a_process(by_one_process, scene, small, str(folder / f'one{repeat}'))
            rows.append(['one process', f'{one:.1f}', '1.00', f'{memory:.0f}', ''])
            expected = (folder / f'one{repeat}/scene.tif').read_bytes()
            for workers in (1, 2):
                out = folder / f'dask{workers}-{repeat}'
                seconds, memory, ready, _ = in_a_process(by_dask, workers, scene, small, str(out))
                assert (out / 'scene.tif').read_bytes() == expected
                rows.append(
                    [f'Dask, {workers} workers', f'{seconds:.1f}', f'{seconds / one:.2f}',
                     f'{memory:.0f}', f'{ready:.1f}']
                )  # fmt: skip
    head = ['Processes', 's', 'ratio', 'peak MiB of a worker', 's to start']
    print(f'{args.height} x {args.width} x 4, naip_small, windows of 512; {machine()}')
    print(f'\n{table(head, rows)}')


if __name__ == '__main__':
    main()

"""Class maps of a scene by ``predict_scenes`` and by mmseg's RSInferencer.

    python -m benchmarks.scene_map CONFIG CHECKPOINT SCENE --window 256 --overlap 64

Each program runs in its own process with the same windows, batch size and model. Seams are measured
as pixels that differ from a prediction of the whole scene in one pass, which must fit into memory,
within two pixels of the lines between windows and in the rest of the scene.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis.remote_sense_inferencer import RSImage, RSInferencer
from osgeo import gdal

from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import Raster, read_raster, write_raster


def ours(config, checkpoint, scene, out, window, overlap):
    model = load_segmentor(Config.fromfile(config), checkpoint, 'cpu')
    started = time.perf_counter()
    tiling = Tiling(window, overlap, 1)
    (target,) = predict_scenes(model, [scene], out, tiling=tiling)
    return target, time.perf_counter() - started


def stock(config, checkpoint, scene, out, window, overlap):
    init_default_scope('mmseg')
    inferencer = RSInferencer.from_config_path(config, checkpoint)
    target = str(Path(out) / 'map.tif')
    started = time.perf_counter()
    stride = (window - overlap,) * 2
    inferencer.run(RSImage(str(scene)), (window,) * 2, stride, target)
    return target, time.perf_counter() - started


def child(function, arguments, threads, queue):
    torch.set_num_threads(threads)
    result = function(*arguments)
    # Not ru_maxrss, which a process inherits from its parent.
    status = Path('/proc/self/status').read_text()
    peak = int(status.split('VmHWM:')[1].split()[0]) / 1024
    queue.put((*result, peak))


def in_a_process(function, *arguments, threads=1, limit=None):
    """Return a function's results and its peak MiB; None if it exceeds ``limit`` seconds."""
    context = multiprocessing.get_context('spawn')
    queue = context.Queue()
    process = context.Process(target=child, args=(function, arguments, threads, queue))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        return None
    if process.exitcode:
        raise RuntimeError(f'{function.__name__} failed with exit code {process.exitcode}')
    return queue.get()


def joins(length, window, overlap):
    """Return a mask, (length,), of the pixels near the centre of each overlap."""
    starts = [*range(0, length - window, window - overlap), length - window]
    middles = [(a + window + b) // 2 for a, b in pairwise(starts)]
    near = np.zeros(length, bool)
    for middle in middles:
        near[middle - 2 : middle + 2] = True
    return near


def report(name, target, seconds, memory, whole, window, overlap):
    classes = read_raster(target)[0]
    other = classes != whole
    rows, columns = (joins(length, window, overlap) for length in whole.shape)
    line = rows[:, None] | columns
    info = Raster(target).info
    dataset = gdal.Open(str(target))
    band = dataset.GetRasterBand(1)
    return {
        'program': name,
        'seconds': round(seconds, 1),
        'peak MiB': round(memory),
        'other class than the whole image, on joins, %': round(100 * other[line].mean(), 3),
        'elsewhere, %': round(100 * other[~line].mean(), 3),
        'reference system': bool(info.crs),
        'geotransform': info.transform is not None,
        'palette': band.GetColorTable() is not None,
        'nodata': band.GetNoDataValue(),
        'overviews': band.GetOverviewCount(),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('scene')
    parser.add_argument('--window', type=int, default=256)
    parser.add_argument('--overlap', type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    windows = SegmentorWindows(load_segmentor(Config.fromfile(args.config), args.checkpoint, 'cpu'))
    whole = windows.logits([torch.from_numpy(read_raster(args.scene))])[0].argmax(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, function in (('RSInferencer', stock), ('predict_scenes', ours)):
            out = Path(folder) / name
            out.mkdir()
            tiling = (args.window, args.overlap)
            result = in_a_process(function, args.config, args.checkpoint, args.scene, out, *tiling)
            print(json.dumps(report(name, *result, whole, *tiling), indent=1))
        small = Path(folder) / 'small.tif'
        write_raster(small, read_raster(args.scene)[:, :100, :100])
        for name, function in (('RSInferencer', stock), ('predict_scenes', ours)):
            out = Path(folder) / name
            result = in_a_process(
                function, args.config, args.checkpoint, small, out, *tiling, limit=60
            )
            print(name, 'scene of 100 x 100:', 'hangs' if result is None else 'mapped')


if __name__ == '__main__':
    main()

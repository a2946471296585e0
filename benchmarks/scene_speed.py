"""Speed of ``predict_scenes`` with torch and OpenVINO compared with mmseg's RSInferencer.

    python -m benchmarks.scene_speed --threads 2

Maps a synthetic 8-bit scene of the size of GID's with DNAS L=14 and random weights. Each program
runs in its own process with the same windows and overlap. RSInferencer uses the plain form of
benchmarks.inference. int8 is calibrated on noise, which affects accuracy but not speed.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import openvino
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmseg.apis.remote_sense_inferencer import RSImage, RSInferencer

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.mapping.onnx_model import export_onnx, get_export_meta
from dnas_mmseg.mapping.openvino_model import EnginePrecision, OpenVINOModel
from dnas_mmseg.mapping.quantization import quantise_graph
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.preparation.synthetic import make_scene
from dnas_mmseg.raster import write_raster
from dnas_mmseg.shipped import CONFIGS

from .hook_overhead import Stopwatch
from .inference import OWN, build
from .plain import plain_logits
from .scene_map import in_a_process
from .side_by_side import machine, parser, table

CONFIG = OWN['DNAS L=14']


def ours(checkpoint: str, scene: str, out: Path, window: int, overlap: int) -> tuple[float, float]:
    """Return the seconds of ``predict_scenes`` and those in the network."""
    model = load_segmentor(Config.fromfile(str(CONFIGS / CONFIG)), checkpoint, 'cpu')
    network = Stopwatch(model, 'encode_decode')
    began = time.perf_counter()
    predict_scenes(model, [scene], out, tiling=Tiling(window, overlap, batch=1))
    return time.perf_counter() - began, network.seconds


def by_openvino(
    precision: EnginePrecision, checkpoint: str, scene: str, out: Path, window: int, overlap: int
) -> tuple[float, float]:
    """Return the seconds of ``predict_scenes`` with OpenVINO and those in the network."""
    model = load_segmentor(Config.fromfile(str(CONFIGS / CONFIG)), checkpoint, 'cpu')
    path = out / 'model.onnx'
    export_onnx(model, path, window)
    if precision == 'int8':
        graph = openvino.Core().read_model(str(path))
        graph.reshape([1, 4, window, window])
        noise = np.random.default_rng(0).integers(0, 255, (4, 1, 4, window, window))
        graph = quantise_graph(graph, list(noise.astype(np.float32)), np.asarray)
        engine = OpenVINOModel.from_graph(graph, get_export_meta(model))
    else:
        engine = OpenVINOModel(path, precision)
    engine.run(np.zeros((4, 4, window, window), np.float32))  # compiles it
    network = Stopwatch(engine, 'run')
    began = time.perf_counter()
    predict_scenes(engine, [scene], out, tiling=Tiling(window, overlap, batch=4))
    return time.perf_counter() - began, network.seconds


def stock(checkpoint: str, scene: str, out: Path, window: int, overlap: int) -> tuple[float, float]:
    """Return the seconds of mmseg's RSInferencer and those in the network."""
    init_default_scope('mmseg')
    inferencer = RSInferencer.from_config_path(str(CONFIGS / CONFIG), checkpoint)
    plain = build(CONFIG, prune=False)
    inferencer.model.encode_decode = lambda inputs, metas: plain_logits(plain, inputs)
    network = Stopwatch(inferencer.model, 'encode_decode')
    began = time.perf_counter()
    inferencer.run(RSImage(scene), (window,) * 2, (window - overlap,) * 2, str(out / 'map.tif'))
    return time.perf_counter() - began, network.seconds


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--height', type=int, default=6800)
    options.add_argument('--width', type=int, default=7200)
    options.add_argument('--window', type=int, default=512)
    options.add_argument('--overlap', type=int, default=128)
    args = options.parse_args()
    init_default_scope('mmseg')
    meta = dict(classes=list(CLASSES), palette=[list(c) for c in PALETTE], bands=BANDS)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, scene = str(Path(folder) / 'random.pth'), str(Path(folder) / 'scene.tif')
        weights = build(CONFIG).state_dict()
        save_checkpoint(dict(state_dict=weights, meta=dict(dataset_meta=meta)), checkpoint)
        piece, _ = make_scene(1024, seed=0)
        repeats = (1, -(-args.height // 1024), -(-args.width // 1024))
        write_raster(scene, np.tile(piece, repeats)[:, : args.height, : args.width], names=BANDS)
        torch.set_num_threads(args.threads)
        programs = {'RSInferencer, plain': stock, 'predict_scenes': ours}
        for precision in get_args(EnginePrecision):
            programs[f'predict_scenes, OpenVINO, {precision}'] = partial(by_openvino, precision)
        for name, function in programs.items():
            out = Path(folder) / name.replace(' ', '_')
            out.mkdir()
            tiling = (args.window, args.overlap)
            seconds, inside, memory = in_a_process(
                function, checkpoint, scene, out, *tiling, threads=args.threads
            )
            first = float(rows[0][2]) if rows else seconds
            share = f'{100 * inside / seconds:.1f}'
            rows.append(
                [name, 'L=14', f'{seconds:.1f}', f'{first / seconds:.2f}', share, f'{memory:.0f}']
            )
    head = ['Program', 'Network', 's', 'speed-up', 'in the network, %', 'peak MiB']
    print(
        f'{args.height} x {args.width} x 4, windows of {args.window}, overlap {args.overlap}; '
        f'{machine()}'
    )
    print(f'\n{table(head, rows)}')


if __name__ == '__main__':
    main()

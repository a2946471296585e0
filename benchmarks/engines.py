"""Inference of DNAS and common models by engine and precision.

    python -m benchmarks.engines --threads 2
    python -m benchmarks.engines --head     # speed-up of merging the linear head, by engine

The table contains milliseconds per window, for four windows and random weights; int8 is calibrated
on noise, which affects accuracy but not speed. Engines and models are measured in alternating
rounds. OpenVINO processes the four windows in parallel, the other engines as one batch.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import openvino
import torch
from mmengine.registry import init_default_scope
from torch import nn

from dnas_mmseg.mapping.exported import INPUT, OUTPUT
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx, get_export_meta
from dnas_mmseg.mapping.openvino_model import OpenVINOModel
from dnas_mmseg.mapping.quantization import quantise_graph
from dnas_mmseg.models import DNASHead, place, switch_to_deploy

from .inference import OTHERS, OWN, build, logits
from .plain import plain_logits
from .side_by_side import machine, measure, parser, table

WINDOWS = 4
FOUND = 'naip_small (DenseNAS space)'
MODELS = {**OWN, FOUND: 'densenas/densenas_narrow_naip.py', **OTHERS}
COLUMNS = ('plain', 'torch', 'onnxruntime', 'OpenVINO', 'OpenVINO bf16', 'OpenVINO int8')
ROOT = Path(__file__).resolve().parent


def engines(model: nn.Module, samples: np.ndarray, folder: Path, int8: bool) -> dict[str, Callable]:
    """Return the inference calls by engine.

    Args:
        model: Deployed segmentor to export.
        samples: Windows, float32 (N, bands, size, size).
        folder: Folder for exported models.
        int8: Whether to include a quantised model.
    """
    model.dataset_meta = {'classes': list('abcde'), 'palette': [], 'bands': list('rgbn')}
    path = folder / 'model.onnx'
    export_onnx(model, path, samples.shape[-1])
    runtime = OnnxModel(path)
    built = {
        'OpenVINO': OpenVINOModel(path),
        'OpenVINO bf16': OpenVINOModel(path, 'bfloat16'),
    }
    if int8:
        graph = openvino.Core().read_model(str(path))
        graph.reshape([1, *samples.shape[1:]])
        quantised = quantise_graph(graph, list(samples[:, None]), np.asarray)
        built['OpenVINO int8'] = OpenVINOModel.from_graph(quantised, get_export_meta(model))
    session = partial(runtime._session.run, [OUTPUT], {INPUT: samples})
    return {'onnxruntime': session, **{k: partial(v.run, samples) for k, v in built.items()}}


def main() -> None:
    options = parser(__doc__, repeat=3)
    options.add_argument('--size', type=int, default=512)
    options.add_argument('--head', action='store_true')
    options.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(WINDOWS, 4, args.size, args.size)).astype(np.float32)
    x, calls = torch.from_numpy(samples), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in OWN if args.head else args.models:
            found = {'architecture': str(ROOT / 'networks/densenas_found.json')}
            trained = build(MODELS[name], **(found if name == FOUND else {}))
            if name in OWN and not args.head:
                plain = build(MODELS[name], prune=False)
                calls[name, 'plain'] = partial(torch.no_grad()(plain_logits), plain, x)
            forms = {name: place(switch_to_deploy(copy.deepcopy(trained)), 'cpu')}
            if args.head:
                with patch.object(DNASHead, 'become_deployed', lambda self: None):
                    other = switch_to_deploy(copy.deepcopy(trained))
                forms[f'{name}, head as trained'] = place(other, 'cpu')
            for key, model in forms.items():
                calls[key, 'torch'] = partial(logits, model, x)
                built = engines(model, samples, Path(folder), int8=not args.head)
                calls.update({(key, engine): call for engine, call in built.items()})
    results = measure(calls, args.repeat)
    columns = [c for c in COLUMNS if any(engine == c for _, engine in results)]
    rows = []
    for name in dict.fromkeys(name for name, _ in results):
        own = {engine: 1e3 * r.seconds / WINDOWS for (n, engine), r in results.items() if n == name}
        first = own.get('plain')
        cells = [
            '' if c not in own
            else f'{own[c]:.0f}' + (f' ({first / own[c]:.1f} x)' if first and c != 'plain' else '')
            for c in columns
        ]  # fmt: skip
        rows.append([name, '', *cells])
    print(
        f'{WINDOWS} windows of 4 x {args.size} x {args.size}, ms a window; {machine()}, OpenVINO '
        f'{openvino.__version__.split("-")[0]}'
    )
    print(f'\n{table(["Model", "", *columns], rows)}')


if __name__ == '__main__':
    main()

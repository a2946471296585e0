"""Inference with OpenVINO in float32, bfloat16 or int8."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dnas_mmseg.cpus import usable_threads
from dnas_mmseg.errors import UserError
from dnas_mmseg.extras import require

from .exported import META, ExportedModel
from .onnx_model import export_onnx

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

EnginePrecision = Literal['float32', 'bfloat16', 'int8']
_HINTS = {'float32': 'f32', 'bfloat16': 'bf16'}
"""Precisions by OpenVINO's names. For int8, OpenVINO selects the precision of other layers."""


class OpenVINOModel(ExportedModel):
    """Run an exported model with OpenVINO on the CPU.

    A batch of windows runs in parallel, in as many streams as OpenVINO chooses for the available
    cores. A single window uses all cores.

    Args:
        path: Path of a file written by :func:`dnas_mmseg.mapping.onnx_model.export_onnx`, or of an
            ``.xml`` file written by :func:`save_openvino`.
        precision: Precision of inference; defaults to ``'int8'`` for quantised files, else to
            ``'float32'``.

    Raises:
        UserError: OpenVINO is not installed, the file was not written by ``dnas export``, or the
            precision is not supported.
    """

    def __init__(self, path: str | os.PathLike, precision: EnginePrecision | None = None) -> None:
        engine = require('openvino', 'openvino')
        if not os.path.isfile(path):
            raise UserError(f'{path}: no such file')
        try:
            model = engine.Core().read_model(os.fspath(path))
            meta = _metadata(model, Path(path))
        except Exception as error:
            raise UserError(
                f'{path} was not written by dnas export ({type(error).__name__}: '
                f'{str(error).splitlines()[0]})'
            ) from None
        self.compile(model, meta, precision, os.fspath(path))

    @classmethod
    def from_segmentor(
        cls, model: BaseSegmentor, window: int = 512, precision: EnginePrecision | None = None
    ) -> OpenVINOModel:
        """Build from a segmentor by a temporary ONNX file.

        Args:
            model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`.
            window: Side of the windows, in pixels.
            precision: Precision of inference.
        """
        require('openvino', 'openvino')
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'model.onnx'
            export_onnx(model, path, window)
            return cls(path, precision)

    @classmethod
    def from_graph(
        cls, graph: Any, meta: dict[str, Any], precision: EnginePrecision | None = None
    ) -> OpenVINOModel:
        """Build from an OpenVINO graph.

        Args:
            graph: Graph from samples to logits, an ``openvino.Model``.
            meta: Metadata of the model.
            precision: Precision of inference.
        """
        built = cls.__new__(cls)
        built.compile(graph, meta, precision, 'the graph')
        return built

    def compile(
        self, graph: Any, meta: dict[str, Any], precision: EnginePrecision | None, name: str
    ) -> None:
        """Compile a graph for the CPU.

        Args:
            graph: Graph from samples to logits, an ``openvino.Model``.
            meta: Metadata of the model.
            precision: Precision of inference.
            name: Name of the model in messages.

        Raises:
            UserError: The precision is not supported.
        """
        engine = require('openvino', 'openvino')
        quantised = any(op.get_type_name() == 'FakeQuantize' for op in graph.get_ops())
        precision = precision or ('int8' if quantised else 'float32')
        if precision not in get_args(EnginePrecision):
            known = ', '.join(get_args(EnginePrecision))
            raise UserError(f'precision {precision!r}: OpenVINO supports {known}')
        if (precision == 'int8') != quantised:
            raise UserError(
                f'{name} is {"" if quantised else "not "}quantised and does not support '
                f'--precision {precision}; `dnas export --int8` writes quantised files'
            )
        self.precision = precision
        _, bands, window, _ = graph.inputs[0].get_partial_shape()
        super().__init__(meta, bands.get_length(), window.get_length())
        # Batch size 1: OpenVINO optimizes static shapes better than dynamic ones.
        graph.reshape([1, self.num_bands, self.window, self.window])
        self._graph, self._engine = graph, engine
        self._compiled: dict[str, list[Any]] = {}

    def run(self, samples: np.ndarray) -> np.ndarray:
        requests = self._requests('THROUGHPUT' if len(samples) > 1 else 'LATENCY')
        found: list[np.ndarray] = []
        for first in range(0, len(samples), len(requests)):
            started = []
            for index, request in zip(range(first, len(samples)), requests, strict=False):
                request.start_async({0: samples[index : index + 1]})
                started.append(request)
            for request in started:
                request.wait()
                found.append(request.get_output_tensor().data.copy())
        return np.concatenate(found)

    def _requests(self, hint: str) -> list[Any]:
        """Return inference requests of the model compiled for a performance hint."""
        if hint not in self._compiled:
            settings: dict[str, Any] = {'PERFORMANCE_HINT': hint}
            settings['INFERENCE_NUM_THREADS'] = usable_threads()
            if self.precision in _HINTS:
                settings['INFERENCE_PRECISION_HINT'] = _HINTS[self.precision]
            try:
                compiled = self._engine.Core().compile_model(self._graph, 'CPU', settings)
            except RuntimeError as error:
                reason = ' '.join(str(error).split())[-200:]
                raise UserError(
                    f'OpenVINO {self._engine.__version__} cannot compile the model in '
                    f'{self.precision} ({reason}): choose another --precision'
                ) from None
            count = compiled.get_property('OPTIMAL_NUMBER_OF_INFER_REQUESTS')
            self._compiled[hint] = [compiled.create_infer_request() for _ in range(count)]
        return self._compiled[hint]


def save_openvino(graph: Any, meta: dict[str, Any], path: str | os.PathLike) -> None:
    """Write an OpenVINO graph as ``path`` (.xml) and its weights (.bin).

    Args:
        graph: Graph from samples to logits, an ``openvino.Model``.
        meta: Metadata of the file.
        path: Path of the ``.xml`` file. It is moved into place after the ``.bin`` file, so that a
            visible ``.xml`` always has its weights.
    """
    engine, path = require('openvino', 'openvino'), Path(path)
    graph.set_rt_info(json.dumps(meta), META)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.') as folder:
        written = Path(folder) / path.name
        engine.save_model(graph, str(written), compress_to_fp16=False)
        os.replace(written.with_suffix('.bin'), path.with_suffix('.bin'))
        os.replace(written, path)


def _metadata(model: Any, path: Path) -> dict[str, Any]:
    """Return the metadata of a file; OpenVINO does not read those of ONNX files."""
    if path.suffix == '.xml':
        return json.loads(model.get_rt_info(META).value)
    properties = require('onnx', 'openvino').load(str(path), load_external_data=False)
    return json.loads(next(p.value for p in properties.metadata_props if p.key == META))

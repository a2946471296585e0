"""Options for the engine that runs a model."""

from __future__ import annotations

import argparse


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--precision``."""
    parser.add_argument(
        '--precision',
        choices=('float32', 'float16', 'bfloat16', 'int8'),
        help='bfloat16 is faster where the processor computes it (recent Xeon, EPYC, GPUs); int8 '
        'is for files of dnas export --int8 (default: float32, or that of the file)',
    )
    parser.add_argument(
        '--backend',
        choices=('torch', 'onnxruntime', 'openvino'),
        help='engine; onnxruntime runs files of dnas export, openvino these and checkpoints '
        '(default: torch for a checkpoint, onnxruntime for .onnx, openvino for .xml)',
    )

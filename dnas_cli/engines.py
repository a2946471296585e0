"""Options of the inference engine."""

from __future__ import annotations

import argparse


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--precision``."""
    parser.add_argument(
        '--precision',
        choices=('float32', 'float16', 'bfloat16', 'int8'),
        help='bfloat16 is faster on processors that support it (recent Xeon, EPYC, GPUs); int8 '
        'requires a file of dnas export --int8 (default: float32, or that of the file)',
    )
    parser.add_argument(
        '--backend',
        choices=('torch', 'onnxruntime', 'openvino'),
        help='inference engine; onnxruntime supports exported files, openvino also checkpoints '
        '(default: torch for a checkpoint, onnxruntime for .onnx, openvino for .xml)',
    )

"""Which model predicts, and by which engine: options of the programs that do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_line import UsageError

if TYPE_CHECKING:
    from mmengine.config import Config

    from dnas_mmseg.mapping.windows import Precision

BACKENDS = ('torch', 'onnxruntime', 'openvino')
PRECISIONS = ('float32', 'float16', 'bfloat16', 'int8')
_EXPORTED = {'.onnx': 'onnxruntime', '.xml': 'openvino'}
"""Engine of exported files by suffix, where the user names none."""
_CONFIGS = ('.py', '.json', '.yaml', '.yml')


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--precision``."""
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        help='bfloat16 is faster where the processor computes it (recent Xeon, EPYC, GPUs); int8 '
        'is for what dnas export --int8 wrote (default: float32, or as exported)',
    )
    parser.add_argument(
        '--backend',
        choices=BACKENDS,
        help='engine; onnxruntime takes what dnas export wrote, openvino that or a checkpoint '
        '(default: torch for a checkpoint, onnxruntime for .onnx, openvino for .xml)',
    )


def take_model(args: argparse.Namespace, words: list[str]) -> list[str]:
    """Set the model's config and checkpoint from the words that name it; return the words left.

    A model is a config and a checkpoint, an exported file alone, or a name of ``dnas models``.

    Args:
        args: Arguments with ``backend``, which get ``config`` and ``checkpoint``.
        words: Words of the command line, from the model on.

    Raises:
        UsageError: A config stands there without a checkpoint.
    """
    first, *rest = words
    if Path(first).suffix in _EXPORTED:
        args.config, args.checkpoint = None, first
    elif Path(first).suffix in _CONFIGS or '::' in first:
        if not rest:
            raise UsageError(f'{first} is a config: its checkpoint is to follow')
        args.config, args.checkpoint, rest = first, rest[0], rest[1:]
    elif Path(first).suffix in ('.pth', '.pt', '.tar'):
        raise UsageError(f'{first} is a checkpoint: its config comes before it')
    else:
        from dnas_mmseg.mapping.pretrained import get_pretrained_model

        model = get_pretrained_model(first)
        args.config, args.checkpoint = str(model.config), str(model.weights)
    settle_backend(args)
    return rest


def settle_backend(args: argparse.Namespace) -> None:
    """Set the engine to that of the checkpoint's file, where the user names none."""
    if args.backend is None:
        args.backend = _EXPORTED.get(Path(args.checkpoint).suffix, 'torch')


def torch_precision(args: argparse.Namespace) -> Precision:
    """Return the precision of torch's arithmetic; other engines have their own."""
    return args.precision or 'float32' if args.backend == 'torch' else 'float32'


def load_model(args: argparse.Namespace, window: int, config: Callable[[], Config]) -> Any:
    """Return the model that the options ask for: a segmentor, or an exported model.

    Args:
        args: Arguments with ``checkpoint``, ``device``, ``backend`` and ``precision``.
        window: Side of the windows of a model that is exported here, in pixels.
        config: Function that loads the model's config, which an exported model does not need.

    Raises:
        UsageError: The backend does not take the file, or has no such precision.
    """
    from dnas_mmseg.mapping.onnx_model import OnnxModel
    from dnas_mmseg.mapping.openvino_model import OpenVINOModel
    from dnas_mmseg.mapping.scenes import load_segmentor

    exported = Path(args.checkpoint).suffix in _EXPORTED
    if args.backend == 'torch':
        if args.precision == 'int8':
            raise UsageError(f'--precision {args.precision} needs --backend openvino')
        if exported:
            raise UsageError(f'{args.checkpoint} needs --backend {" or ".join(BACKENDS[1:])}')
        return load_segmentor(config(), args.checkpoint, args.device)
    if args.backend == 'onnxruntime':
        if args.precision not in (None, 'float32'):
            raise UsageError('--precision: onnxruntime runs a model as it was exported')
        return OnnxModel(args.checkpoint, args.device)
    if args.device not in (None, 'cpu'):
        raise UsageError(f'--device {args.device}: OpenVINO runs on the CPU here')
    if args.precision == 'float16':
        raise UsageError('--precision float16: OpenVINO computes in float32, bfloat16 or int8 here')
    if exported:
        return OpenVINOModel(args.checkpoint, args.precision)
    model = load_segmentor(config(), args.checkpoint, 'cpu')
    return OpenVINOModel.from_segmentor(model, window, args.precision)

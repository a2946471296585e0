"""Write a trained model as ONNX: samples as stored in, logits out.

    python tools/export.py configs/dnas/dnas_l14_gid5.py best.pth dnas_l14.onnx
    python tools/predict.py configs/dnas/dnas_l14_gid5.py dnas_l14.onnx SCENE --out-dir maps \\
        --backend onnxruntime

Normalisation is in the model, and classes, palette and bands are in the file. Input `samples` is
float32 (windows, bands, size, size), output `logits` (windows, classes, size, size). torch's own
exporter is used: mmdeploy stands still, and reads images by OpenCV. Needs onnx and onnxscript.
"""

from __future__ import annotations

from pathlib import Path

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.mapping.onnx_model import export_onnx
from dnas_mmseg.mapping.scenes import load_segmentor

from .command_line import config_parser, user_errors


def main() -> None:
    parser = config_parser(__doc__, data=False)
    parser.add_argument('checkpoint', help='of this model')
    parser.add_argument('target', type=Path, help='the .onnx file to write')
    parser.add_argument('--window', type=int, default=512, help='side, pixels (default: 512)')
    args = parser.parse_args()
    with user_errors():
        config = load_config(args.config, options=args.cfg_options)
        model = load_segmentor(config, args.checkpoint, 'cpu')
        export_onnx(model, args.target, args.window)
    print(f'{args.target}: {args.target.stat().st_size / 2**20:.1f} MiB')

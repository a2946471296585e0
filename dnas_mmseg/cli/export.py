"""Write a trained model as ONNX, or for OpenVINO in eight bits: samples as stored in, logits out.

    dnas export dnas_mmseg::dnas/dnas_l14_gid5.py best.pth dnas_l14.onnx
    dnas predict dnas_mmseg::dnas/dnas_l14_gid5.py dnas_l14.onnx SCENE --out-dir maps \\
        --backend onnxruntime                                  # or openvino
    dnas export CONFIG best.pth dnas_l14_int8.xml --int8 --data-root data/gid5

Normalisation is in the model, and classes, palette and bands are in the file. Input `samples` is
float32 (windows, bands, size, size), output `logits` (windows, classes, size, size). torch's own
exporter is used: mmdeploy stands still, and reads images by OpenCV. Needs onnx and onnxscript.

--int8 takes the ranges of activations from training tiles (NNCF, after training), scores the model
on the validation tiles before and after, and refuses where more than 0.3 points of mIoU are lost.
Needs the extra openvino.
"""

from __future__ import annotations

from pathlib import Path

from dnas_mmseg.errors import UserError

from .command_line import config_parser, user_errors


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='of this model')
    parser.add_argument('target', type=Path, help='the .onnx file to write; .xml with --int8')
    parser.add_argument('--work-dir', help='logs of --int8 (default: work_dirs/<config>)')
    parser.add_argument('--window', type=int, default=512, help='side, pixels (default: 512)')
    parser.add_argument(
        '--int8', action='store_true', help='weights and activations of eight bits, for OpenVINO'
    )
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.mapping.onnx_model import export_onnx
        from dnas_mmseg.mapping.quantization import export_int8
        from dnas_mmseg.mapping.scenes import load_segmentor

        suffix = '.xml' if args.int8 else '.onnx'
        if args.target.suffix != suffix:
            raise UserError(f'{args.target}: the name of the file must end with {suffix}')
        config = load_config(
            args.config,
            data_root=args.data_root,
            work_dir=args.work_dir,
            options=args.cfg_options,
        )
        model = load_segmentor(config, args.checkpoint, 'cpu')
        if args.int8:
            scores = export_int8(model, config, args.target, args.window)
            told = ', '.join(f'{name} {score:.2f} %' for name, score in scores.items())
            print(f'validation mIoU: {told}')
        else:
            export_onnx(model, args.target, args.window)
    files = [args.target] + ([args.target.with_suffix('.bin')] if args.int8 else [])
    size = sum(path.stat().st_size for path in files)
    print(f'{args.target}: {size / 2**20:.1f} MiB')

"""Export a trained network to ONNX, to ONNX for QGIS, or to int8 for OpenVINO.

    dnas export dnas_mmseg::dnas/dnas_l14_gid5.py best.pth dnas_l14.onnx
    dnas predict dnas_l14.onnx SCENE --out-dir maps
    dnas export CONFIG best.pth dnas_l14_qgis.onnx --deepness --metres 4
    dnas export CONFIG best.pth dnas_l14_int8.xml --int8 --data-root data/gid5
    dnas export naip_small naip_small.onnx --licence 'CC BY 4.0'

MODEL is a config and a checkpoint, or a name of `dnas models`. The exported file includes the
normalisation, classes, palette and bands. The input `samples` has samples as they are stored (with
scale and offset applied, if the model was trained so), float32 (windows, bands, size, size); the
output `logits` is (windows, classes, size, size). Requires the extra onnx.

--deepness exports for the QGIS plugin Deepness, which divides samples by 255. The file accepts such
samples, returns probabilities and has the metadata of the plugin (classes, window and pixel size).

--int8 calibrates activations on training tiles (post-training quantisation with NNCF), scores the
model on the validation tiles before and after, and fails if it loses more than 0.3 points of mIoU.
Requires the extra openvino.

Also writes a model card (.card.md) and, with the extra stac, a STAC item (.stac.json).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .command_line import ArgumentParser, UsageError, add_overrides, user_errors


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__, usage='%(prog)s MODEL TARGET [options]')
    parser.add_argument(
        'words', nargs='+', metavar='MODEL TARGET',
        help='model, then the file to write: .onnx, or .xml with --int8',
    )  # fmt: skip
    parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    add_overrides(parser)
    parser.add_argument('--work-dir', help='logs of --int8 (default: work_dirs/<config>)')
    parser.add_argument('--window', type=int, default=512, help='side in pixels (default: 512)')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--deepness', action='store_true', help='export for the QGIS plugin Deepness')
    form.add_argument('--int8', action='store_true', help='quantise to int8 for OpenVINO')
    card = parser.add_argument_group('model card')
    card.add_argument('--scores', type=Path, metavar='JSON', help='test_scores.json of dnas test')
    card.add_argument(
        '--metres', type=float, help='pixel size (default: that of the training tiles)'
    )
    card.add_argument('--licence', help='terms of use')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from dataclasses import replace

        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.errors import UserError
        from dnas_mmseg.mapping.loading import split_model
        from dnas_mmseg.mapping.model_card import (
            collect_model_metadata,
            complete_metadata,
            write_model_card,
        )
        from dnas_mmseg.mapping.onnx_model import export_deepness, export_onnx
        from dnas_mmseg.mapping.pretrained import list_pretrained_models
        from dnas_mmseg.mapping.quantization import export_int8
        from dnas_mmseg.mapping.segmentor import load_segmentor
        from dnas_mmseg.mapping.stac import write_model_item

        source, checkpoint, targets = split_model(args.words)
        if source is None or len(targets) != 1:
            raise UsageError(f'{" ".join(args.words)}: one model and one file to write expected')
        target, suffix = Path(targets[0]), '.xml' if args.int8 else '.onnx'
        if target.suffix != suffix:
            hint = '' if args.int8 or target.suffix != '.xml' else ', or set --int8'
            raise UsageError(f'{target}: the file name must end with {suffix}{hint}')
        if args.window < 1:
            raise UsageError(f'--window {args.window}: must be at least 1')
        config = load_config(
            source,
            data_root=args.data_root,
            work_dir=args.work_dir,
            options=args.cfg_options,
        )
        scores = read_scores(args.scores)
        model = load_segmentor(config, checkpoint, 'cpu')
        metadata = collect_model_metadata(
            model, config, target.stem, args.window, scores, args.licence or 'not stated'
        )
        included = list_pretrained_models().get(args.words[0])
        if included is not None:
            metadata = complete_metadata(metadata, included.metadata)
        if args.metres is not None:
            metadata = replace(metadata, metres=args.metres)
        if metadata.tile_size is not None and min(metadata.tile_size) < args.window:
            side = min(metadata.tile_size)
            print(
                f'note: the training tiles have {side} pixels: scenes smaller than the window are '
                f'padded, which changes their maps; --window {side} does not pad those'
            )
        if args.deepness:
            if model.dataset_meta.get('apply_scale'):
                raise UsageError(
                    '--deepness: the plugin applies no scale and offset, which the model requires'
                )
            if metadata.dtype not in ('', 'uint8') or max(metadata.mean) > 255:
                raise UsageError(
                    '--deepness: the plugin supports 8-bit samples only; the model was trained on '
                    f'{metadata.dtype or "larger samples"} (mean {max(metadata.mean):g})'
                )
            export_deepness(model, target, args.window, metadata.metres)
            metadata = replace(metadata, samples='divided by 255, as by the plugin')
            use = [
                '# QGIS: Deepness, Segmentor; dnas predict requires an export without --deepness'
            ]
        elif args.int8:
            both = export_int8(model, config, target, args.window)
            results = {f'validation mIoU in {name}': score for name, score in both.items()}
            print(', '.join(f'{name} {score:.2f} %' for name, score in results.items()))
            metadata = replace(metadata, scores={**metadata.scores, **results})
        else:
            export_onnx(model, target, args.window)
        if not args.deepness:
            use = [f'dnas predict {target.name} scene.tif --out-dir maps']
        card = target.with_suffix('.card.md')
        write_model_card(card, metadata, use)
        try:
            write_model_item(target.with_suffix('.stac.json'), target, metadata)
        except UserError as error:
            print(f'note: no STAC item: {error}')
    files = [target] + ([target.with_suffix('.bin')] if args.int8 else [])
    size = sum(path.stat().st_size for path in files)
    print(f'{target}: {size / 2**20:.1f} MiB; model card: {card}')


def read_scores(path: Path | None) -> dict[str, float]:
    """Read the scores of ``dnas test``, without those of classes that do not occur.

    Raises:
        UsageError: The file does not exist or has other content.
    """
    if path is None:
        return {}
    try:
        scores = json.loads(path.read_text(encoding='utf-8'))
        return {str(name): float(score) for name, score in scores.items() if score is not None}
    except (FileNotFoundError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f'{path} is not a test_scores.json ({error})') from None

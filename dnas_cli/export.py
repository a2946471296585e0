"""Write a trained network for others: ONNX, ONNX for QGIS, or eight bits for OpenVINO.

    dnas export dnas_mmseg::dnas/dnas_l14_gid5.py best.pth dnas_l14.onnx
    dnas predict dnas_l14.onnx SCENE --out-dir maps
    dnas export CONFIG best.pth dnas_l14_qgis.onnx --deepness --metres 4
    dnas export CONFIG best.pth dnas_l14_int8.xml --int8 --data-root data/gid5
    dnas export naip_small naip_small.onnx --licence 'CC BY 4.0'

MODEL is a config and a checkpoint, or a name of `dnas models`. Normalisation is in the file, and
classes, palette and bands are. Input `samples` is float32 (windows, bands, size, size), as samples
are stored, output `logits` (windows, classes, size, size). torch's own exporter is used: mmdeploy
stands still, and reads images by OpenCV. Needs the extra onnx.

--deepness is for the plugin Deepness of QGIS, which divides samples by 255: that file takes those,
gives probabilities, and says what the plugin reads (classes, size of windows and of pixels).

--int8 takes the ranges of activations from training tiles (NNCF, after training), scores the model
on the validation tiles before and after, and refuses where more than 0.3 points of mIoU are lost.
Needs the extra openvino.

Beside the file appear a model card (.card.md) and, with the extra stac, a STAC item (.stac.json).
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
        help='the model, then the file to write: .onnx, or .xml with --int8',
    )  # fmt: skip
    parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    add_overrides(parser)
    parser.add_argument('--work-dir', help='logs of --int8 (default: work_dirs/<config>)')
    parser.add_argument('--window', type=int, default=512, help='side, pixels (default: 512)')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--deepness', action='store_true', help="for QGIS's plugin Deepness")
    form.add_argument(
        '--int8', action='store_true', help='weights and activations of eight bits, for OpenVINO'
    )
    card = parser.add_argument_group('on the model card')
    card.add_argument(
        '--scores', type=Path, metavar='JSON', help='scores: test_scores.json of dnas test'
    )
    card.add_argument(
        '--metres', type=float, help='size of a pixel (default: that of the training tiles)'
    )
    card.add_argument('--licence', default='not stated', help='terms of use')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        from dataclasses import replace

        from dnas_mmseg.engine.configs import load_config
        from dnas_mmseg.mapping.loading import split_model
        from dnas_mmseg.mapping.model_card import collect_model_metadata, write_model_card
        from dnas_mmseg.mapping.onnx_model import export_deepness, export_onnx
        from dnas_mmseg.mapping.quantization import export_int8
        from dnas_mmseg.mapping.scenes import load_segmentor
        from dnas_mmseg.mapping.stac import write_model_item

        source, checkpoint, targets = split_model(args.words)
        if source is None or len(targets) != 1:
            raise UsageError(f'{" ".join(args.words)}: a model and one file to write are expected')
        target, suffix = Path(targets[0]), '.xml' if args.int8 else '.onnx'
        if target.suffix != suffix:
            hint = '' if args.int8 or target.suffix != '.xml' else ', or give --int8'
            raise UsageError(f'{target}: the name of the file must end with {suffix}{hint}')
        config = load_config(
            source,
            data_root=args.data_root,
            work_dir=args.work_dir,
            options=args.cfg_options,
        )
        scores = read_scores(args.scores)
        model = load_segmentor(config, checkpoint, 'cpu')
        metadata = collect_model_metadata(
            model, config, target.stem, args.window, scores, args.licence
        )
        if args.metres is not None:
            metadata = replace(metadata, metres=args.metres)
        if args.deepness:
            if metadata.dtype not in ('', 'uint8') or max(metadata.mean) > 255:
                raise UsageError(
                    '--deepness: the plugin feeds samples of eight bits; the model was trained on '
                    f'{metadata.dtype or "larger ones"} (mean {max(metadata.mean):g})'
                )
            export_deepness(model, target, args.window, metadata.metres)
            metadata = replace(metadata, samples='divided by 255, as the plugin feeds them')
            use = ['# QGIS, Deepness, Segmentor (samples / 255); for dnas export another one']
        elif args.int8:
            both = export_int8(model, config, target, args.window)
            named = {f'validation mIoU in {name}': score for name, score in both.items()}
            print(', '.join(f'{name} {score:.2f} %' for name, score in named.items()))
            metadata = replace(metadata, scores={**metadata.scores, **named})
        else:
            export_onnx(model, target, args.window)
        if not args.deepness:
            use = [f'dnas predict {target.name} scene.tif --out-dir maps']
        card = target.with_suffix('.card.md')
        write_model_card(card, metadata, use)
        try:
            write_model_item(target.with_suffix('.stac.json'), target, metadata)
        except UsageError as error:
            print(f'note: no STAC item: {error}')
    files = [target] + ([target.with_suffix('.bin')] if args.int8 else [])
    size = sum(path.stat().st_size for path in files)
    print(f'{target}: {size / 2**20:.1f} MiB; its card: {card}')


def read_scores(path: Path | None) -> dict[str, float]:
    """Return the scores in a file of ``dnas test``.

    Raises:
        UsageError: There is no such file, or it holds something else.
    """
    if path is None:
        return {}
    try:
        scores = json.loads(path.read_text(encoding='utf-8'))
        return {str(name): float(score) for name, score in scores.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f'{path} is no test_scores.json ({error})') from None

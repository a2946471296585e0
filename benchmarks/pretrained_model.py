"""Add a trained model to the models distributed with the package (``dnas models``).

    python -m benchmarks.pretrained_model naip_small configs/densenas/densenas_narrow_naip.py \\
        work_dirs/naip_small/epoch_180.pth --scores work_dirs/naip_small/test/test_scores.json \\
        --cfg-options model.backbone.architecture=benchmarks/networks/densenas_found.json

The distributed model was trained with the same config and options, ``train_cfg.max_epochs=180
randomness.seed=0`` and one thread, and selected among two networks by its validation score.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import dnas_mmseg  # noqa: F401  registers everything
from dnas_cli.command_line import ArgumentParser, add_overrides
from dnas_cli.export import read_scores
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.mapping.model_card import collect_model_metadata
from dnas_mmseg.mapping.pretrained import FOLDER, save_pretrained_model
from dnas_mmseg.mapping.segmentor import load_segmentor

DATA = (
    '129 tiles of 256 x 256 pixels of NAIP aerial imagery (Ohio, USA; red, green, blue, near '
    'infrared), with labels made by hand by GitHub user yinx111 (2025, "U-Net Semantic '
    'Segmentation on Multispectral Satellite Imagery"), whose classes were mapped to those of '
    'GID-5: background, mostly lawn and grass, is meadow, bare land, mostly ploughed fields, '
    'is farmland. That mapping is an approximation. Tested on 43 tiles at least 600 m away; '
    'no other region, season or sensor was tried.'
)
LICENCE = (
    'Weights: Apache-2.0, as the package. Imagery: USDA NAIP, public domain. The labels have '
    'no formal licence; their author asks to be cited: Source imagery: USDA NAIP; processed '
    'and labeled dataset: yinx111 (2025).'
)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('name')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--scores', type=Path, required=True)
    parser.add_argument('--window', type=int, default=256)
    add_overrides(parser)
    args: argparse.Namespace = parser.parse_args()
    config = load_config(args.config, options=args.cfg_options)
    model = load_segmentor(config, args.checkpoint, 'cpu')
    scores = {f'{k} on the test tiles': v for k, v in read_scores(args.scores).items()}
    metadata = collect_model_metadata(model, config, args.name, args.window, scores, LICENCE)
    model = save_pretrained_model(
        FOLDER / args.name, config, args.checkpoint, replace(metadata, data=DATA)
    )
    print(model.folder, sum(path.stat().st_size for path in model.folder.iterdir()) / 2**20, 'MiB')


if __name__ == '__main__':
    main()

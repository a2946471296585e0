"""Sort 215 public NAIP tiles (R, G, B, NIR) into a data root, with a geographic split.

    git clone https://github.com/yinx111/U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery
    dnas convert-naip \\
        U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery/dataset_split \\
        --out data/naip_rgbn

Tiles that touch each other are in one split; the list of it comes with the package.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='the folder dataset_split')
    parser.add_argument('--out', type=Path, default=Path('data/naip_rgbn'))
    args = parser.parse_args()
    with user_errors():
        from rich.progress import track

        from dnas_mmseg.preparation.naip import convert_naip

        description = convert_naip(
            args.source, args.out, track=lambda tiles: track(tiles, description='tiles')
        )
    print(f'{args.out}: {dict(zip(description.classes, description.class_shares, strict=True))}')

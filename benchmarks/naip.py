"""Sort 215 public NAIP tiles (R, G, B, NIR, 0.6 m) into a data root, in the classes of GID-5.

    git clone https://github.com/yinx111/U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery
    python -m benchmarks.naip \\
        U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery/dataset_split \\
        --out data/naip_rgbn

The split of the source is random: most test tiles touch a training tile. The split of
``naip_rgbn_split.csv`` is geographic: 24 clusters of touching tiles, 129/43/43 tiles, no test tile
within 600 m of the others.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from rich.progress import track

from dnas_cli.command_line import ArgumentParser, user_errors
from dnas_mmseg.datasets.checks import Expectation, inspect_pairs
from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.preparation.conversion import describe_data_root
from dnas_mmseg.raster import Raster, read_raster, write_raster

BANDS = ('red', 'green', 'blue', 'nir')
SPLIT_LIST = Path(__file__).with_name('naip_rgbn_split.csv')

# background, building, road, bare land, forest, water as index labels of GID-5. An approximation:
# background is mostly grass and lawn (meadow), bare land mostly ploughed fields (farmland).
_INDEX = np.array([4, 1, 1, 2, 3, 5], np.uint8)


def convert_naip(source: str | os.PathLike, out: str | os.PathLike) -> DatasetDescription:
    """Sort the tiles into a data root.

    Args:
        source: Folder ``dataset_split`` of the repository.
        out: Data root to write.

    Raises:
        DatasetError: A file is missing, or a mask holds unknown values.
    """
    source, out = Path(source), Path(out)
    with SPLIT_LIST.open(encoding='utf-8') as file:
        tiles = list(csv.DictReader(file))
    pairs: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for tile in track(tiles, description='tiles'):
        folder = source / tile['source_split']
        image, mask = (
            folder / 'img' / f'tile_{tile["tile"]}.tif',
            folder / 'mask' / f'mask_{tile["tile"]}.tif',
        )
        for path in (image, mask):
            if not path.is_file():
                raise DatasetError(
                    f'{path}: no such file; {source} is not the dataset_split folder'
                )
        classes = read_raster(mask)[0]
        if classes.max() >= len(_INDEX):
            raise DatasetError(f'{mask}: value {classes.max()}, known are 0 to {len(_INDEX) - 1}')
        with Raster(image) as raster:
            info, samples = raster.info, raster.read()
        pair = (f'images/naip_{tile["tile"]}.tif', f'labels/naip_{tile["tile"]}.png')
        write_raster(out / pair[0], samples, names=BANDS, georeference=info.georeference)
        write_raster(out / pair[1], _INDEX[classes], palette=((0, 0, 0), *PALETTE))
        pairs[tile['split']].append(pair)
    expected = Expectation(BANDS, None, LabelEncoding('index', len(CLASSES)))
    training = [(str(out / image), str(out / label)) for image, label in pairs['train']]
    return describe_data_root(
        out,
        pairs,
        inspect_pairs(training, expected, statistics=True),
        classes=CLASSES,
        palette=PALETTE,
        bands=BANDS,
        label_convention='index',
        provenance={'imagery': 'USDA NAIP', 'labels': 'yinx111 (2025), mapped to GID-5 classes'},
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='the folder dataset_split')
    parser.add_argument('--out', type=Path, default=Path('data/naip_rgbn'))
    args = parser.parse_args()
    with user_errors():
        description = convert_naip(args.source, args.out)
    print(f'{args.out}: {dict(zip(description.classes, description.class_shares, strict=True))}')


if __name__ == '__main__':
    main()

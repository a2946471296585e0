"""Throughput of the GID-5 training pipeline compared with that of training steps.

    python -m benchmarks.loading --threads 2

Loads synthetic 8-bit tiles of 512 x 512 pixels and four bands, in the format of the converter, with
the training pipeline of configs/dnas/dnas_l14_gid5.py and batch size 2. The files are in the page
cache: the benchmark measures decoding, augmentation, collation and transfer, not the disk.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.preparation.synthetic import make_scene
from dnas_mmseg.raster import write_raster
from dnas_mmseg.shipped import CONFIGS

from .side_by_side import machine, measure, parser, table
from .training import build, own_step

SIZE, BATCH = 512, 2


def write_tiles(root: Path) -> None:
    """Write 64 tiles of 16 synthetic scenes."""
    lines = []
    for seed in range(16):
        samples, label = make_scene(2 * SIZE, seed % 4)
        for i in range(4):
            rows, columns = (slice(k * SIZE, (k + 1) * SIZE) for k in divmod(i, 2))
            name = f's{seed}_{rows.start}_{columns.start}'
            write_raster(root / f'images/{name}.tif', samples[:, rows, columns], names=BANDS)
            write_raster(root / f'labels/{name}.png', label[rows, columns], palette=PALETTE)
            lines.append(f'images/{name}.tif\tlabels/{name}.png\n')
    (root / 'train.txt').write_text(''.join(lines))
    DatasetDescription(
        bands=BANDS, classes=CLASSES, palette=PALETTE, label_convention='train_id', dtype='uint8'
    ).save(root)


def loader(root: Path, workers: int) -> DataLoader:
    config = load_config(CONFIGS / 'dnas/dnas_l14_gid5.py', data_root=str(root))
    config.train_dataloader.num_workers = workers
    return Runner.build_dataloader(config.train_dataloader, seed=0)


def batches_a_second(batches: DataLoader) -> float:
    """Return batches per second of an epoch, without the first batch, which starts the workers."""
    iterator = iter(batches)
    next(iterator)
    began = time.perf_counter()
    count = sum(1 for _ in iterator)
    return count / (time.perf_counter() - began)


def main() -> None:
    args = parser(__doc__, repeat=3).parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmseg')
    image = torch.randn(BATCH, 4, SIZE, SIZE)
    label = torch.randint(0, 5, (BATCH, SIZE, SIZE))
    step = partial(own_step, build('retraining', 12, 40), image, label, False)
    steps = 1 / measure({'step': step}, args.repeat)['step'].seconds
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_tiles(Path(folder))
        for workers in (0, 1, 2):
            rate = max(batches_a_second(loader(Path(folder), workers)) for _ in range(args.repeat))
            rows.append([f'{workers} workers', f'{rate:.1f}', f'{rate / steps:.0f}'])
    print(f'{BATCH} x 4 x {SIZE} x {SIZE}; steps of L=12: {steps:.2f} a second; {machine()}')
    print(f'\n{table(["Loader", "Batches a second", "for each step of L=12"], rows)}')


if __name__ == '__main__':
    main()

"""Run the whole workflow in a few minutes on a CPU: scenes, tiles, training, test, picture.

    dnas demo --work-dir demo
    dnas demo --work-dir demo-search --search          # gradient search first
    dnas demo --work-dir demo-select --select          # selection by training first
    dnas demo --map                                    # also map the test scene

Writes synthetic scenes in the format of GID-5 and runs the same commands as for real data. The
network is DNAS L=14 at a fifth of its width, or a network of 6 layers with --search or --select.
Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .command_line import ArgumentParser, UsageError, user_errors

MARKER = '.made-by-demo'
CONFIG = """# Written by `dnas demo`: DNAS L=14 with few channels and a short schedule.
_base_ = 'dnas_mmseg::dnas/dnas_l14_adamw-ema_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=8), decode_head=dict(channels=64))
# Small tiles load fast; workers would compete with the network for the cores.
tiles = dict(dataset=dict(data_root=data_root), num_workers=0)
train_dataloader = dict(**tiles, batch_size=4)
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs={epochs}, val_interval=7)
default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
"""


def run(*command: object) -> None:
    """Print a subcommand and run it."""
    words = [os.path.relpath(w) if isinstance(w, Path) else str(w) for w in command]
    print('\n$ dnas ' + ' '.join(words), flush=True)
    finished = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'dnas_mmseg', *words])
    if finished.returncode:
        sys.exit(f'error: this command failed with exit code {finished.returncode}')


def clear(work_dir: Path) -> None:
    """Remove the results of an earlier demo; refuse other folders that are not empty."""
    marker = work_dir / MARKER
    if not marker.is_file() and work_dir.is_dir() and any(work_dir.iterdir()):
        raise UsageError(
            f'{work_dir} is not empty and not from an earlier demo: choose another --work-dir'
        )
    for name in ('scenes', 'data', 'train', 'test', 'search', 'select', 'maps'):
        shutil.rmtree(work_dir / name, ignore_errors=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    marker.write_text('`dnas demo` overwrites this folder.\n', encoding='utf-8')


def report(work_dir: Path, config: Path, checkpoint: Path, scores_file: Path) -> None:
    """Print the IoU of each class next to a majority-class baseline, and draw a picture."""
    import numpy as np
    from mmseg.apis import inference_model, init_model
    from rich.console import Console
    from rich.table import Table

    from dnas_mmseg.classes import ClassScheme
    from dnas_mmseg.datasets import GID5Dataset
    from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
    from dnas_mmseg.evaluation import compute_scores, confusion_matrix
    from dnas_mmseg.raster import read_raster
    from dnas_mmseg.visualization import ExampleRow, save_comparison

    measured = json.loads(scores_file.read_text(encoding='utf-8'))
    dataset = GID5Dataset(data_root=str(work_dir / 'data'), ann_file='test.txt')
    labels = [read_raster(label)[0] for _, label in dataset.pairs if label]
    counts = np.bincount(np.concatenate(labels, axis=None), minlength=256)[: len(CLASSES)]
    majority = np.argmax(counts)
    matrices = [confusion_matrix(ids, np.full_like(ids, majority), len(CLASSES)) for ids in labels]
    baseline = compute_scores(np.sum(matrices, axis=0))
    table = Table(title='IoU on the test scene, %')
    for heading in ('', 'network', f'all {CLASSES[majority]}'):
        table.add_column(heading, justify='right' if heading else 'left')
    for i, name in enumerate(CLASSES):
        table.add_row(name, f'{measured[f"IoU.{name}"]:.1f}', f'{100 * baseline["IoU"][i]:.1f}')
    table.add_section()
    for name in ('mIoU', 'OA'):
        table.add_row(name, f'{measured[name]:.1f}', f'{100 * baseline[name]:.1f}')
    Console(width=60).print(table)

    model = init_model(str(config), str(checkpoint), device='cpu')
    rows = []
    tiles = zip([image for image, _ in dataset.pairs], labels, strict=True)
    most_classes_first = sorted(tiles, key=lambda tile: -len(np.unique(tile[1])))
    for image, label in most_classes_first[:4]:
        prediction = inference_model(model, image).pred_sem_seg.data[0].numpy()
        rows.append(ExampleRow(read_raster(image).transpose(1, 2, 0), label, prediction))
    save_comparison(
        work_dir / 'prediction.png',
        rows,
        bands=BANDS,
        classes=ClassScheme(CLASSES, PALETTE),
        title=f'test scene, mIoU {measured["mIoU"]:.1f} %',
    )
    print(f'picture: {work_dir / "prediction.png"}')


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo'),
        help='new folder, or folder of an earlier demo, which is overwritten',
    )
    parser.add_argument('--epochs', type=int, default=28, help='epochs of training (default: 28)')
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        '--search', action='store_true', help='run a gradient search, then train its network'
    )
    network.add_argument(
        '--select', action='store_true', help='select a network among the portfolio'
    )
    parser.add_argument('--map', action='store_true', help='also map the whole test scene')
    parser.add_argument(
        '--search-epochs', type=int, default=12, help='epochs per stage (default: 12)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    started = time.monotonic()
    work_dir = args.work_dir.resolve()
    scenes, data_root, config = work_dir / 'scenes', work_dir / 'data', work_dir / 'config.py'
    with user_errors():
        clear(work_dir)
        from dnas_mmseg.cpus import usable_cores
        from dnas_mmseg.engine.checkpoints import last_checkpoint
        from dnas_mmseg.preparation.synthetic import write_scenes

        print(f'six synthetic scenes in the format of GID-5: {scenes}')
        write_scenes(scenes, count=6, size=512)
        text = CONFIG.format(data_root=data_root.as_posix(), epochs=args.epochs)
        config.write_text(text, encoding='utf-8')
        run('convert', scenes, '--out', data_root, '--tile-size', 128)
        if args.search:
            trained, tested = work_dir / 'search/retrain', work_dir / 'search/test'
            run(
                'search', 'dnas', '--layers', 6, '--config', config, '--crop', 64,
                '--epochs', args.search_epochs, '--retrain', '--work-dir', work_dir / 'search',
            )  # fmt: skip
            run('report', work_dir / 'search')
            config = work_dir / 'search/retrain.py'
        elif args.select:
            trained, tested = work_dir / 'select/final', work_dir / 'select/final/test'
            run(
                'select', '--config', config, '--hours', 0.1, '--workers', usable_cores(),
                '--work-dir', work_dir / 'select',
            )  # fmt: skip
            print(f'report: {work_dir / "select/report.html"}')
            config = work_dir / 'select/retrain.py'
        else:
            trained, tested = work_dir / 'train', work_dir / 'test'
            run('train', config, '--work-dir', trained)
        # The config averages weights, so the last checkpoint is used without validation.
        checkpoint = last_checkpoint(trained)
        assert checkpoint is not None  # the training has finished
        if not (args.search or args.select):
            run('test', config, checkpoint, '--work-dir', tested)
        report(work_dir, config, checkpoint, tested / 'test_scores.json')
        if args.map:
            tile = (data_root / 'test.txt').read_text(encoding='utf-8').split('\t')[0]
            scene = Path(tile).stem.rsplit('_', 2)[0]
            run(
                'predict', config, checkpoint, scenes / f'image_NirRGB/{scene}.tif', '--out-dir',
                work_dir / 'maps', '--window', 128, '--quick-look', '--polygons', '--qgis-style',
            )  # fmt: skip
    print(f'done in {time.monotonic() - started:.0f} s')

"""Networks of many families trained for equal CPU time, a row each in benchmarks/candidates.csv.

    python -m benchmarks.candidates --data naip deepglobe gid5-rgb --seeds 0 --minutes 5
    python -m benchmarks.candidates --minutes 5 20 --seeds 0 1 2 --workers 2
    python -m benchmarks.candidates --inherited --data naip --seeds 0 --minutes 2
    python -m benchmarks.candidates --list              # missing training runs
    python -m benchmarks.candidates --table naip        # results as Markdown
    python -m benchmarks.candidates --table naip --inherited

The length of each training comes from timed iterations on one thread (``dnas train --hours``), with
one validation at its end. Each training is a process of the lowest priority; those with a row are
skipped. ``DNAS_DATA`` is the folder with ``naip_rgbn``, ``gid5_rgb`` and ``deepglobe_rgb``; it
defaults to ``data``. The rows of the per-pixel baseline take no training time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

import dnas_mmseg  # noqa: F401  registers everything
from benchmarks.rows import ROOT, Rows, folder_name, run_in_processes
from dnas_mmseg.comparison.measuring import complexity
from dnas_mmseg.datasets import inspect_pairs, multi_band_parts, summarise
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.engine.length import fit_length
from dnas_mmseg.engine.running import test, train
from dnas_mmseg.evaluation import compute_scores, confusion_matrix
from dnas_mmseg.evaluation.pixel_baseline import evaluate_pixel_baseline
from dnas_mmseg.raster import read_raster
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.space import constructor_arguments

DATA = ('naip', 'deepglobe', 'gid5-rgb')
COLUMNS = (
    'date', 'data', 'network', 'seed', 'minutes', 'epochs', 'cpu_seconds', 'mIoU_val', 'mIoU', 'OA',
    'by_class', 'by_scene',
)  # fmt: skip
ROWS = Rows(ROOT / 'benchmarks/candidates.csv', COLUMNS)
DEEPGLOBE = ('urban', 'agriculture', 'rangeland', 'forest', 'water', 'barren')

PRETRAINED = dict(type='EfficientNetLitePretrained', bands=None)
LOWER_RATE = dict(custom_keys=dict(backbone=dict(lr_mult=0.3)))
UNET = dict(_delete_=True, type='UNetHead', num_classes=5)
ALL_STRIDES = dict(out_indices=(0, 1, 2, 3, 4))


def _lite(**changes: Any) -> dict[str, Any]:
    """Return the changes that make EfficientNet-Lite0 of a DenseNAS config with the ASPP head."""
    backbone = dict(
        architecture='efficientnet_lite0', norm_cfg=dict(type='BN', eps=1e-3), **changes
    )
    return dict(
        model=dict(backbone=backbone, decode_head=dict(channels=64, c1_channels=24)),
        optim_wrapper=dict(paramwise_cfg=LOWER_RATE) if changes else {},
    )


def _architecture(name: str, head: dict | None = None, **backbone: Any) -> dict[str, Any]:
    """Return the changes for an architecture of benchmarks/networks, and another head."""
    path = str(ROOT / f'benchmarks/networks/{name}.json')
    model: dict[str, Any] = dict(backbone=dict(architecture=path, **backbone))
    if head is not None:
        model['decode_head'] = head
    return dict(model=model)


NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    'U-Net, Lite0, ImageNet': ('unet/unet_lite0', {}),
    'HRNet-W18-small': ('hrnet/fcn_hr18s', {}),
    'DNAS L=12 released, base 16': ('dnas/dnas_l12_w16', {}),
    'ASPP, Lite0, ImageNet': ('densenas/densenas_narrow', _lite(init_cfg=PRETRAINED)),
    'ResNet-18 + FPN': ('fpn/fpn_r18', {}),
    'PSPNet R-18': ('pspnet/pspnet_r18-d8', {}),
    'U-Net, Lite0, from scratch': (
        'unet/unet_lite0',
        dict(model=dict(backbone=dict(init_cfg=None)), optim_wrapper=dict(paramwise_cfg=None)),
    ),
    'DenseNAS space, gradient search': (
        'densenas/densenas_narrow', _architecture('densenas_found'),
    ),
    'DenseNAS space, gradient search, U-Net': (
        'densenas/densenas_narrow', _architecture('densenas_found', UNET, **ALL_STRIDES),
    ),
    'MiT-B0': ('segformer/segformer_mit-b0', {}),
    'DNAS space, selected by halving (repeat 1)': (
        'dnas/dnas_l12_w16', _architecture('dnas_chosen_0'),
    ),
    'DNAS space, gradient search': ('dnas/dnas_l12_w16', _architecture('dnas_found')),
    'Auto-DeepLab space, gradient search': (
        'autodeeplab/autodeeplab_narrow', _architecture('autodeeplab_found'),
    ),
    'ASPP, Lite0, from scratch': ('densenas/densenas_narrow', _lite()),
}  # fmt: skip
"""Networks by name: prefix of the config before ``_naip.py`` or ``_gid5-rgb.py``, and changes."""

SUPERNET = dict(
    widths=((12,), (16, 20), (24, 28, 32), (40, 48, 56), (64, 80)),
    strides=(2, 4, 8, 16, 32),
    depths=(0, 2, 2, 2, 1),
)
"""Space of densenas_narrow_naip.py."""


def _sampled(seed: int, inherit: bool) -> tuple[str, dict[str, Any]]:
    """Return a random network of DenseNAS's space with the U-Net head."""
    space = SPACES['densenas']
    arguments = constructor_arguments(dict(type='DenseNASSupernet', **SUPERNET))
    found = space.sample(arguments, np.random.default_rng(seed), f'random_{seed}')
    backbone = dict(
        architecture=dict(_delete_=True, **found.to_document()),
        norm_cfg=dict(type='BN', eps=1e-3),
        **ALL_STRIDES,
    )
    if inherit:
        backbone['init_cfg'] = PRETRAINED
    return 'densenas/densenas_narrow', dict(model=dict(backbone=backbone, decode_head=UNET))


INHERITED = {
    f'DenseNAS space, random (seed {seed}), {how}': _sampled(seed, how == 'inherited')
    for seed in range(8)
    for how in ('from scratch', 'inherited')
}
"""Random networks from scratch and with remapped weights of EfficientNet-Lite0."""

ALL = NETWORKS | INHERITED
TREES, MAJORITY = 'per-pixel trees', 'majority class'


def build_config(data: str, network: str, work_dir: Path) -> Config:
    """Return the config of a network on a data set."""
    prefix, changes = ALL[network]
    suffix = 'naip' if data == 'naip' else 'gid5-rgb'
    config = Config.fromfile(str(ROOT / f'configs/{prefix}_{suffix}.py'))
    config.merge_from_dict(json.loads(json.dumps(changes)))
    bands = ('red', 'green', 'blue', 'nir') if data == 'naip' else ('red', 'green', 'blue')
    init = config.model.backbone.get('init_cfg')
    if init is not None and 'bands' in init:
        init.bands = bands
    folder = {'naip': 'naip_rgbn', 'deepglobe': 'deepglobe_rgb', 'gid5-rgb': 'gid5_rgb'}[data]
    root = Path(os.environ.get('DNAS_DATA', 'data')) / folder
    for split in ('train', 'val', 'test'):
        for leaf in leaf_datasets(config[f'{split}_dataloader']):
            leaf.data_root = str(root)
            if data == 'deepglobe':
                leaf.update(type='MultiBandSegDataset', label_convention='index')
                leaf.metainfo = dict(bands=bands, classes=DEEPGLOBE)
    if data == 'deepglobe':
        _describe(config)
    config.work_dir = str(work_dir)
    return config


def _describe(config: Config) -> None:
    """Set the number of classes and the statistics of the training tiles."""
    for name in ('decode_head', 'auxiliary_head'):
        heads = config.model.get(name) or []
        for head in heads if isinstance(heads, list) else [heads]:
            head.num_classes = len(DEEPGLOBE)
    init_default_scope('mmseg')
    (dataset,) = multi_band_parts(DATASETS.build(config.train_dataloader.dataset))
    pairs = dataset.pairs[::10]
    summary = summarise(inspect_pairs(pairs, dataset.expected, statistics=True), dataset.labels)
    config.model.data_preprocessor.update(mean=summary.mean.tolist(), std=summary.std.tolist())


def run(data: str, network: str, seed: int, minutes: float, work_dir: Path) -> dict[str, Any]:
    """Train and test a network in this process, on one thread, and return its row."""
    torch.set_num_threads(1)
    config = build_config(data, network, work_dir)
    config.randomness = dict(seed=seed)
    fit_length(config, minutes / 60)
    config.train_cfg.val_interval = config.train_cfg.max_epochs
    config.default_hooks.checkpoint.update(interval=config.train_cfg.max_epochs, save_best=None)
    began = time.process_time()
    runner = train(config)
    seconds = time.process_time() - began
    scores = runner.message_hub.get_scalar('val/mIoU').current()
    checkpoint = next(Path(work_dir).glob('epoch_*.pth'))
    predictions = Path(work_dir) / 'predictions'
    config.test_evaluator.output_dir = str(predictions)
    tested = test(config, str(checkpoint))
    checkpoint.unlink()
    by_class = {k.removeprefix('IoU.'): round(v, 1) for k, v in tested.items() if 'IoU.' in k}
    by_scene = score_scenes(config, predictions)
    shutil.rmtree(predictions)
    return _row(
        data, network, seed, minutes, config.train_cfg.max_epochs, seconds, scores, tested,
        by_class, by_scene,
    )  # fmt: skip


def score_scenes(config: Config, predictions: Path) -> dict[str, float]:
    """Return the test mIoU of each scene from the predictions of a test, in percent.

    Only tiles named ``<scene>_<row>_<column>`` have a scene.
    """
    dataset = DATASETS.build(config.test_dataloader.dataset)
    classes = len(dataset.metainfo['classes'])
    matrices: dict[str, Any] = {}
    for sample in dataset:
        label = sample['data_samples']
        path = Path(label.img_path)
        place = parse_tile_name(path.name)
        if place is None:
            continue
        predicted = read_raster(predictions / f'{path.stem}.png')[0]
        truth = label.gt_sem_seg.data.squeeze(0).numpy()
        matrix = confusion_matrix(truth, predicted, classes)
        matrices[place[0]] = matrices.get(place[0], 0) + matrix
    return {s: round(100 * compute_scores(matrices[s])['mIoU'], 1) for s in sorted(matrices)}


def _row(
    data: str, network: str, seed: int, minutes: float, epochs: int, seconds: float,
    validation: float, tested: dict[str, float], by_class: dict[str, float],
    by_scene: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    values = (
        time.strftime('%Y-%m-%d'), data, network, seed, f'{minutes:g}', epochs, round(seconds),
        round(float(validation), 2), round(float(tested['mIoU']), 2),
        round(float(tested['OA']), 2), json.dumps(by_class), json.dumps(by_scene),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def baseline_rows(data: str) -> list[dict[str, Any]]:
    """Return the rows of the per-pixel baselines on a data set."""
    config = build_config(data, 'HRNet-W18-small', Path('unused'))
    init_default_scope('mmseg')
    parts = {
        split: multi_band_parts(DATASETS.build(config[f'{split}_dataloader'].dataset))
        for split in ('train', 'val', 'test')
    }
    began = time.process_time()
    results = {s: evaluate_pixel_baseline(parts['train'], parts[s]) for s in ('val', 'test')}
    seconds = time.process_time() - began
    rows = []
    classes = parts['train'][0].metainfo['classes']
    for name, kind in ((TREES, 'trees'), (MAJORITY, 'majority')):
        val, tested = (compute_scores(getattr(results[s], kind)) for s in ('val', 'test'))
        by_class = dict(zip(classes, np.round(100 * tested['IoU'], 1).tolist(), strict=True))
        percent = {key: 100 * tested[key] for key in ('mIoU', 'OA')}
        rows.append(_row(data, name, 0, 0, 0, seconds, 100 * val['mIoU'], percent, by_class, {}))
    return rows


def missing(args: argparse.Namespace) -> list[tuple[str, str, int, float]]:
    """Return the requested training runs without a row, in the order in which they are run."""
    done = {(r['data'], r['network'], r['seed'], r['minutes']) for r in ROWS.read()}
    return [
        (data, network, seed, minutes)
        for seed in args.seeds
        for minutes in args.minutes
        for network in args.networks or (INHERITED if args.inherited else NETWORKS)
        for data in args.data
        if (data, network, str(seed), f'{minutes:g}') not in done
    ]


def table(data: str) -> str:
    """Return the results on a data set as a Markdown table, by mean test mIoU."""
    rows = [r for r in ROWS.read() if r['data'] == data and r['network'] not in INHERITED]
    scenes = sorted({scene for r in rows for scene in json.loads(r['by_scene'])})
    lines = []
    for key in dict.fromkeys((r['network'], r['minutes']) for r in rows):
        own = [r for r in rows if (r['network'], r['minutes']) == key]
        mean, validation = (
            statistics.mean(float(r[name]) for r in own) for name in ('mIoU', 'mIoU_val')
        )
        cost = ['', '']
        if key[0] in ALL:
            found = complexity(build_config(data, key[0], Path('unused')), (256, 256))
            cost = [f'{found.parameters / 1e6:.2f} M', f'{found.macs / 1e9:.2f} G']
        by_seed = ', '.join(f'{float(r["mIoU"]):.1f}' for r in own)
        cells = [
            key[0], key[1], *cost, own[0]['epochs'], f'{validation:.1f}', by_seed,
            f'**{mean:.1f}**',
        ]  # fmt: skip
        if scenes:
            known = [found for r in own if (found := json.loads(r['by_scene']))]
            means = (f'{statistics.mean(found[s] for found in known):.1f}' for s in scenes)
            cells.append(', '.join(means) if known else '')
        lines.append((-mean, f'| {" | ".join(cells)} |'))
    heading = [
        'Network', 'Minutes', 'Parameters', 'Multiply-adds, 256 x 256', 'Epochs', 'Validation mIoU',
        'Test mIoU by seed', 'Mean',
    ]  # fmt: skip
    if scenes:
        heading.append(f'Scenes {", ".join(scenes)}')
    rule = '|---' + '|---:' * (len(heading) - 1) + '|'
    return '\n'.join([f'| {" | ".join(heading)} |', rule, *(line for _, line in sorted(lines))])


def inherited_table(data: str) -> str:
    """Return random networks with and without inherited weights as a Markdown table."""
    found = {r['network']: r for r in ROWS.read() if r['data'] == data}
    lines = [
        '| Network | Parameters | Test mIoU from scratch | Inherited | Difference |',
        '|---|---:|---:|---:|---:|',
    ]
    differences = []
    for seed in range(8):
        names = [
            f'DenseNAS space, random (seed {seed}), {h}' for h in ('from scratch', 'inherited')
        ]
        if not set(names) <= set(found):
            continue
        scores = [float(found[name]['mIoU']) for name in names]
        differences.append(scores[1] - scores[0])
        size = complexity(build_config(data, names[0], Path('unused')), (256, 256)).parameters
        lines.append(
            f'| random, seed {seed} | {size / 1e6:.2f} M | {scores[0]:.1f} | {scores[1]:.1f} | '
            f'{differences[-1]:+.1f} |'
        )
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    lines.append(f'| mean +- standard deviation |  |  |  | {mean:+.1f} +- {deviation:.1f} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', nargs='+', choices=DATA, default=list(DATA))
    parser.add_argument('--networks', nargs='+', choices=ALL, help='default: those of the tables')
    parser.add_argument(
        '--inherited',
        action='store_true',
        help='random networks with and without inherited weights',
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--minutes', type=float, nargs='+', default=[5, 20])
    parser.add_argument('--workers', type=int, default=1, help='parallel training runs')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/candidates')
    parser.add_argument('--list', action='store_true', help='only list missing training runs')
    parser.add_argument('--table', choices=DATA, help='only print the table of a data set')
    parser.add_argument('--one', nargs=4, help=argparse.SUPPRESS)  # a training in this process
    args = parser.parse_args()
    if args.table:
        print(inherited_table(args.table) if args.inherited else table(args.table))
        return
    if args.one:
        data, network, seed, minutes = args.one
        row = run(data, network, int(seed), float(minutes), args.work_dir)
        ROWS.append(row)
        print(f'{data}, {network}, seed {seed}, {minutes} minutes: {row["mIoU"]} % mIoU')
        return
    trainings = missing(args)
    if args.list:
        for training in trainings:
            print(*training, sep=' | ')
        return
    have = {(r['data'], r['network']) for r in ROWS.read()}
    for data in args.data:
        if (data, TREES) not in have:
            for row in baseline_rows(data):
                ROWS.append(row)

    runs = {
        folder_name(*training[:3], f'{training[3]:g}'): (
            '--one', *training[:3], f'{training[3]:g}'
        )
        for training in trainings
    }  # fmt: skip
    run_in_processes('benchmarks.candidates', runs, args.work_dir, args.workers)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{used.ru_utime + used.ru_stime:.0f} s of CPU time')


if __name__ == '__main__':
    main()

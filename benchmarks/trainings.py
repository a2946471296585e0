"""Training runs of the README's tables, with a row each in benchmarks/trainings.csv.

    python -m benchmarks.trainings --data naip gid5-rgb --seeds 0 1 2 --workers 2
    python -m benchmarks.trainings --variants --seeds 0 1 --workers 2
    python -m benchmarks.trainings --longer --seeds 0
    python -m benchmarks.trainings --data naip --list     # missing training runs
    python -m benchmarks.trainings --data naip --table    # results, as in the README

Each training run is a separate process with one thread and the lowest priority, and appends its row
when it finishes. Training runs with a row are skipped, so the same command resumes an interrupted
benchmark. Requires ``data/naip_rgbn`` and ``data/gid5_rgb`` (README). Searched, selected and random
networks are in ``benchmarks/networks``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from mmengine.config import Config

from dnas_mmseg.comparison.measuring import complexity

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / 'benchmarks/trainings.csv'
CLASSES = ('built-up', 'farmland', 'forest', 'meadow', 'water')
DATA = {'naip': 'naip_rgbn, crops of 128', 'gid5-rgb': 'gid5_rgb, crops of 128'}
RECIPE = 'adamw_ema'
_EQUAL = {RECIPE: {RECIPE, f'{RECIPE}, constant momentum of the average'}}
"""Equivalent recipes by recipe: the momentum of the weight average is the same after 1,000 steps,
and differs by a tenth after the 896 steps of HRNet."""

NETWORKS = {
    'DNAS L=12 released': ('dnas/dnas_l12_crop128', None),
    'DNAS L=12 released, base 16': ('dnas/dnas_l12_w16', None),
    'DNAS L=8 random 3, base 16': ('dnas/dnas_l12_w16', 'dnas_random_3'),
    "found in DNAS's space, base 16": ('dnas/dnas_l12_w16', 'dnas_found'),
    "found in Auto-DeepLab's space": ('autodeeplab/autodeeplab_narrow', 'autodeeplab_found'),
    "found in DenseNAS's space": ('densenas/densenas_narrow', 'densenas_found'),
    'UNet': ('unet/fcn_unet_s5', None),
    'PSPNet R-18': ('pspnet/pspnet_r18-d8', None),
    'DeepLabV3+ R-18': ('deeplabv3plus/deeplabv3plus_r18-d8', None),
    'HRNet-W18-small': ('hrnet/fcn_hr18s', None),
}
"""Networks of the equal-time tables: prefix of the config before ``_naip.py`` or ``_gid5-rgb.py``,
and an architecture that overrides the config's."""

CHOSEN = {
    f'DNAS L=8 chosen {repeat}, base 16': ('dnas/dnas_l12_w16', f'dnas_chosen_{repeat}')
    for repeat in range(3)
}
"""Networks selected by halving on the NAIP tiles (benchmarks/selection.md)."""

WIDER = {'DNAS L=8 chosen 0, base 32': ('dnas/dnas_l12_w16', 'dnas_chosen_0')}
"""Selected network of twice the width with a head of 128 channels: 8.9 G multiply-adds at 512 x
512, compared with 9.6 G of HRNet-W18-small."""

_WIDTH = """\
model['backbone']['base_channels'] = 32
model['decode_head'] = dict(channels=128)
"""

_ALL = NETWORKS | CHOSEN | WIDER

_LOAD = "dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations'), "
_CROP = "dict(type='RandomCrop', crop_size=(128, 128)), "
_FLIPS = (
    "dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0), "
    "dict(type='RandomFlip', prob=0.5), "
)
_PACK = "dict(type='PackSegInputs')"
_CE = "dict(type='LabelledCrossEntropyLoss')"
_SHORT = 30
"""Epochs of the training runs that compare variants of the recipe."""

LONGER = {
    'HRNet-W18-small': (84, 168, 280),
    **dict.fromkeys(CHOSEN, (180,)),
    **dict.fromkeys(WIDER, (168,)),
}
"""Epochs of longer training runs, validated once: HRNet takes 20, 35 and 60 minutes on one core, a
selected network about 20."""


def _pipeline(steps: str) -> str:
    return f'train_dataloader = dict(dataset=dict(pipeline=[{steps}]))'


def _wrapped(wrapper: str, inner: str = '{{_base_.train_dataloader.dataset}}') -> str:
    dataset = f'dict(_delete_=True, dataset={inner}, {wrapper})'
    return f'train_dataloader = dict(dataset={dataset})'


def _losses(losses: str) -> str:
    return f"model['decode_head'] = dict(loss_decode=[{losses}])"


VARIANTS = {
    'as it is': '',
    'weight decay 0.05': 'optim_wrapper = dict(optimizer=dict(weight_decay=0.05))',
    'learning rate 1e-3': 'optim_wrapper = dict(optimizer=dict(lr=1e-3))',
    'learning rate 4e-3': 'optim_wrapper = dict(optimizer=dict(lr=4e-3))',
    'warm-up of 400 steps': "param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, "
    "end=400, by_epoch=False), dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, "
    'convert_to_iter_based=True)]',
    'momentum of the average 0.002': "custom_hooks = [dict(type='EMAHook', "
    "ema_type='MomentumAnnealingEMA', momentum=0.002, gamma=10, update_buffers=True)]",
    'no average of weights': 'custom_hooks = []',
    'cross entropy alone': _losses(_CE),
    'Dice x 3': _losses(f"{_CE}, dict(type='LabelledDiceLoss', loss_weight=3.0)"),
    'Lovasz for Dice': _losses(f"{_CE}, dict(type='LovaszLoss', reduction='none')"),
    'OHEM': "model['decode_head'] = dict(sampler=dict(type='OHEMPixelSampler', thresh=0.7, "
    'min_kept=20000))',
    # A quarter more tiles per epoch: fewer epochs for the same number of steps.
    'tiles by rare classes': _wrapped("type='ClassBalancedDataset', oversample_thr=0.5")
    + '\ntrain_cfg = dict(max_epochs=24, val_interval=24)',
    'scales 0.5 to 2': _pipeline(
        f"{_LOAD}dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.0), "
        f'keep_ratio=True), {_CROP}{_FLIPS}{_PACK}'
    ),
    'colours distorted': _pipeline(
        f"{_LOAD}{_CROP}{_FLIPS}dict(type='MultiBandPhotoMetricDistortion'), {_PACK}"
    ),
    'ClassMix': _wrapped(
        f"type='MultiImageMixDataset', pipeline=[dict(type='RandomClassMix'), {_PACK}]",
        "dict(type='GID5Dataset', data_root='data/naip_rgbn', ann_file='train.txt', "
        "metainfo=dict(bands=('red', 'green', 'blue', 'nir')), label_convention='index', "
        f'pipeline=[{_LOAD}{_CROP}{_FLIPS}])',
    ),
}
"""Changes of the recipe, one at a time, for the random network on the NAIP tiles."""


@dataclass(frozen=True)
class Training:
    """Training run to execute.

    Attributes:
        data: Key of :data:`DATA`.
        recipe: Name of the recipe in the rows.
        network: Key of :data:`NETWORKS`, :data:`CHOSEN` or :data:`WIDER`.
        seed: Seed of the training run.
        change: Config text that overrides the network's config.
    """

    data: str
    recipe: str
    network: str
    seed: int
    change: str = ''

    def config(self) -> str:
        """Return the config text of the training run."""
        name, architecture = _ALL[self.network]
        lines = [f"_base_ = '{ROOT}/configs/{name}_{self.data}.py'"]
        if architecture is not None:
            path = ROOT / f'benchmarks/networks/{architecture}.json'
            lines.append(f"model = dict(backbone=dict(architecture='{path}'))")
        if self.network in WIDER:
            lines.append(_WIDTH)
        return '\n'.join([*lines, self.change, ''])

    def run(self, folder: Path) -> dict[str, object]:
        """Train and test in a folder, and return the row.

        Raises:
            RuntimeError: The training run failed; the message contains the path of its log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        resumed = any(folder.glob('run/*/last_checkpoint'))
        (folder / 'config.py').write_text(self.config())
        command = [
            'nice', '-n', '19', sys.executable, '-W', 'ignore', ROOT / 'tools/train.py',
            folder / 'config.py', '--seeds', '1', '--resume', '--work-dir', folder / 'run',
            '--cfg-options', f'randomness.seed={self.seed}',
        ]  # fmt: skip
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        with (folder / 'log.txt').open('w') as log:
            process = subprocess.Popen(
                list(map(str, command)), cwd=ROOT, env=environment, stdout=log, stderr=log
            )
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f'{self}: failed, see {folder / "log.txt"}')
        # The time before an interruption is unknown.
        seconds = None if resumed else round(usage.ru_utime + usage.ru_stime)
        return self.row(folder, seconds)

    def row(self, folder: Path, cpu_seconds: int | None) -> dict[str, object]:
        """Return the row of a finished training run."""
        trained = folder / f'run/seed_{self.seed}'
        scores = json.loads((trained / 'test/test_scores.json').read_text())
        epochs = re.findall(r'Epoch\(train\)\s+\[(\d+)\]', (folder / 'log.txt').read_text())
        values = [
            json.loads(line).get('mIoU')
            for path in sorted(trained.glob('*/vis_data/scalars.json'))
            for line in path.read_text().splitlines()
        ]
        return {
            'date': time.strftime('%Y-%m-%d'),
            'data': DATA[self.data],
            'recipe': self.recipe,
            'network': self.network,
            'seed': self.seed,
            'epochs': epochs[-1],
            'cpu_seconds': cpu_seconds,
            'mIoU_val': next((value for value in reversed(values) if value is not None), ''),
            **{name: scores[name] for name in ('mIoU', 'OA', 'FWIoU')},
            **{f'IoU_{name}': scores[f'IoU.{name}'] for name in CLASSES},
        }


def append(row: dict[str, object]) -> None:
    """Append a row to the CSV file of results."""
    with FileLock(f'{ROWS}.lock'), ROWS.open('a', newline='') as file:
        csv.DictWriter(file, list(row), lineterminator='\n').writerow(row)


def missing(args: argparse.Namespace) -> list[Training]:
    """Return the requested training runs without a row."""
    if args.variants:
        short = f'train_cfg = dict(max_epochs={_SHORT}, val_interval={_SHORT})\n'
        wanted = [
            Training('naip', f'{RECIPE}, {name}', 'DNAS L=8 random 3, base 16', seed, short + text)
            for seed in args.seeds
            for name, text in VARIANTS.items()
        ]
    elif args.longer:
        wanted = [
            Training(
                'naip',
                f'{RECIPE}, {epochs} epochs',
                network,
                seed,
                f'train_cfg = dict(max_epochs={epochs}, val_interval={epochs})',
            )
            for seed in args.seeds
            for network in args.networks or LONGER
            for epochs in LONGER[network]
        ]
    else:
        wanted = [
            Training(data, RECIPE, network, seed)
            for data in args.data
            for seed in args.seeds
            for network in args.networks or NETWORKS
        ]
    with ROWS.open() as file:
        done = {
            (r['data'], r['recipe'], r['network'], int(r['seed'])) for r in csv.DictReader(file)
        }
    return [
        t
        for t in wanted
        if not any(
            (DATA[t.data], recipe, t.network, t.seed) in done
            for recipe in _EQUAL.get(t.recipe, {t.recipe})
        )
    ]


def table(data: str) -> str:
    """Return the training runs on a data set as a Markdown table, the best network first."""
    with ROWS.open() as file:
        rows = [r for r in csv.DictReader(file) if r['data'] == DATA[data]]
    lines = []
    for network in _ALL:
        own = [r for r in rows if r['network'] == network and r['recipe'] in _EQUAL[RECIPE]]
        if not own:
            continue
        own = sorted(own, key=lambda r: int(r['seed']))
        config = Config.fromstring(Training(data, RECIPE, network, 0).config(), '.py')
        cost = complexity(config, (256, 256))

        def mean(name: str, own: list[dict] = own) -> float:
            return statistics.mean(float(r[name]) for r in own)

        cells = [
            network,
            f'{cost.parameters / 1e6:.2f} M',
            f'{cost.macs / 1e9:.2f} G',
            own[0]['epochs'],
            ', '.join(f'{float(r["mIoU"]):.1f}' for r in own),
            f'**{mean("mIoU"):.1f}**',
            *(f'{mean(name):.1f}' for name in ('OA', 'FWIoU', *(f'IoU_{c}' for c in CLASSES))),
        ]
        lines.append((-mean('mIoU'), f'| {" | ".join(cells)} |'))
    heading = ('', 'Parameters', 'Multiply-adds, 256 x 256', 'Epochs', 'mIoU by seed', 'Mean mIoU')
    heading += ('OA', 'FWIoU', *CLASSES)
    rule = '|---' + '|---:' * (len(heading) - 1) + '|'
    return '\n'.join([f'| {" | ".join(heading)} |', rule, *(line for _, line in sorted(lines))])


def variants_table() -> str:
    """Return the variants of the recipe as a Markdown table, the best one first."""
    with ROWS.open() as file:
        rows = [r for r in csv.DictReader(file) if r['data'] == DATA['naip']]
    scores = {
        name: [
            (int(r['seed']), float(r['mIoU'])) for r in rows if r['recipe'] == f'{RECIPE}, {name}'
        ]
        for name in VARIANTS
    }
    means = {name: statistics.mean(v for _, v in own) for name, own in scores.items() if own}
    plain = next(iter(VARIANTS))
    lines = ['| | mIoU by seed | Mean | Difference |', '|---|---:|---:|---:|']
    for name in sorted(means, key=lambda name: -means[name]):
        values = ', '.join(f'{value:.1f}' for _, value in sorted(scores[name]))
        difference = '' if name == plain else f'{means[name] - means[plain]:+.1f}'
        lines.append(f'| {name} | {values} | {means[name]:.1f} | {difference} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', nargs='+', choices=DATA, default=list(DATA))
    parser.add_argument('--networks', nargs='+', choices=_ALL, help='default: all of the tables')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--variants', action='store_true', help='train variants of the recipe')
    parser.add_argument(
        '--longer', action='store_true', help='train HRNet and selected networks for longer'
    )
    parser.add_argument('--workers', type=int, default=1, help='parallel training runs')
    parser.add_argument('--table', action='store_true', help='only print the table')
    parser.add_argument('--list', action='store_true', help='only list missing training runs')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/trainings')
    args = parser.parse_args()
    if args.longer and (unknown := set(args.networks or ()) - set(LONGER)):
        parser.error(f'--longer does not support {", ".join(sorted(unknown))}')
    if args.table:
        for text in [variants_table()] if args.variants else map(table, args.data):
            print(text)
        return
    trainings = missing(args)
    if args.list:
        for training in trainings:
            print(DATA[training.data], training.recipe, training.network, training.seed, sep=' | ')
        return

    def work(training: Training) -> None:
        name = f'{training.data} {training.recipe} {training.network} {training.seed}'
        try:
            row = training.run(args.work_dir / re.sub(r'[^\w]+', '_', name))
        except RuntimeError as error:
            print(f'error: {error}', flush=True)
            return
        append(row)
        print(f'{name}: {row["mIoU"]} % mIoU', flush=True)

    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(work, trainings))


if __name__ == '__main__':
    main()

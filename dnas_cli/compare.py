"""Compare the cost, latency, memory and training speed of models, and scores of checkpoints.

    dnas compare dnas_mmseg::dnas/dnas_l12_gid5.py \\
        dnas_mmseg::pspnet/pspnet_r50-d8_gid5.py dnas_mmseg::hrnet/fcn_hr48_gid5.py --out comparison
    dnas compare mine=a.py:best.pth b.py:other.pth --out comparison \\
        --size 256 --batch 4 --threads 2 --data-root data/mine

All models are measured alternately in one process, so that a slow phase of the machine affects all
of them. Any mmseg config is supported. Latency is the median over runs from normalised images to
logits of the same size. Writes comparison.md, .csv and .json, pareto.png and .svg, and the report
index.html.
"""

from __future__ import annotations

import argparse
import platform
import re
from dataclasses import asdict
from pathlib import Path

from .command_line import (
    ArgumentParser,
    positive_integer,
    progress_bars,
    set_threads,
    split_name,
    user_errors,
)


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'models',
        nargs='+',
        metavar='[NAME=]CONFIG[:CHECKPOINT]',
        help='models to compare (default name: file name of the config)',
    )
    parser.add_argument('--out', type=Path, required=True, help='output folder')
    parser.add_argument(
        '--size', type=positive_integer, default=512, help='side of the images (default: 512)'
    )
    parser.add_argument(
        '--batch', type=positive_integer, default=1, help='images per batch (default: 1)'
    )
    parser.add_argument(
        '--repeat', type=positive_integer, default=10, help='measured runs (default: 10)'
    )
    parser.add_argument('--threads', type=int, help='CPU threads (default: one per core)')
    parser.add_argument('--no-training', action='store_true', help='skip training steps')
    parser.add_argument(
        '--data-root', help='replaces data_root of the configs, for tests of checkpoints'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        import torch
        from mmengine.device import get_device

        from dnas_mmseg.comparison.measuring import Entry, compare
        from dnas_mmseg.comparison.report import save_cost_report
        from dnas_mmseg.engine.configs import load_config

        set_threads(args.threads)
        device = get_device()
        entries = []
        for model in args.models:
            name, rest = split_name(model)
            # Split at a colon, except those of dnas_mmseg::... and of a Windows drive.
            config, *checkpoint = re.split(r'(?<!:)(?<!^[A-Za-z]):(?!:)', rest, maxsplit=1)
            loaded = load_config(config, data_root=args.data_root)
            entries.append(Entry(name or Path(config).stem, loaded, *checkpoint))
        with progress_bars() as track:
            results = compare(
                entries,
                size=(args.size, args.size),
                batch=args.batch,
                repeat=args.repeat,
                training=not args.no_training,
                device=device,
                out_dir=str(args.out),
                advance=track('measuring'),
            )
        metadata = {
            'size': f'{args.size} x {args.size}',
            'batch': args.batch,
            'training batch': max(args.batch, 2),
            'float32 on': torch.cuda.get_device_name() if 'cuda' in device else platform.machine(),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
            'runs': args.repeat,
        }
        rows = [asdict(result) for result in results]
        rows = [{**(row.pop('cost') or {}), **row} for row in rows]
        page = save_cost_report(rows, metadata, args.out)
    print((args.out / 'comparison.md').read_text(encoding='utf-8'))
    print(page)

"""Measure the latency table of a search space on this machine, for a latency target.

    dnas measure-latency dnas dnas_mmseg::dnas/dnas_l14_gid5.py latency.json
    dnas search dnas --layers 14 --cost latency --targets 40ms \\
        --latency-table latency.json --data-root data/gid5 --work-dir work_dirs/search

Width, bands and head are those of the config. The table contains the device, number of threads,
image size and dtype of the measurement; a search under other conditions refuses it. All parts are
timed in deployed form (`switch_to_deploy`). The predicted latency of a network is the sum of its
parts times a calibration factor, measured on random networks. The search reports the measured
latency of the networks found next to the prediction.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import (
    ArgumentParser,
    add_supernet_options,
    positive_integer,
    progress_bars,
    set_threads,
    user_errors,
)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('space', help='the search space: dnas, autodeeplab or densenas')
    parser.add_argument('config', help='config of a network of the space')
    parser.add_argument('target', type=Path, help='table to write')
    parser.add_argument(
        '--size', type=positive_integer, default=512, help='side of the images (default: 512)'
    )
    parser.add_argument('--threads', type=int, help='CPU threads (default: one per core)')
    parser.add_argument(
        '--repeat', type=positive_integer, default=15, help='runs of each part (default: 15)'
    )
    parser.add_argument(
        '--base-channels', type=positive_integer, help='width (default: that of the config)'
    )
    parser.add_argument('--data-root', help='data root, for a config of data only')
    add_supernet_options(parser)
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.runs.network import describe_replacement
        from dnas_mmseg.search.latency import measure_space
        from dnas_mmseg.search.plan import SearchPlan

        set_threads(args.threads)
        plan = SearchPlan(
            args.space,
            config=args.config,
            data_root=args.data_root,
            layers=args.layers,
            base_channels=args.base_channels,
            search_options=args.search_options,
        )
        note = describe_replacement(plan)
        if note:
            print(f'note: {note}')
        with progress_bars() as track:
            size = (args.size, args.size)
            table = measure_space(plan, size, args.repeat, track('measuring parts'))
        table.save(args.target)
    print(f'{args.target}: {len(table.values)} parts; {dict(table.facts)}')

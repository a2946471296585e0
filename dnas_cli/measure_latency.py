"""Measure what the parts of a search space take on this machine: the table of a latency target.

    dnas measure-latency dnas dnas_mmseg::dnas/dnas_l14_gid5.py latency.json
    dnas search dnas --layers 14 --cost latency --targets 40ms \\
        --latency-table latency.json --data-root data/gid5 --work-dir work_dirs/search

Width, bands and head are the config's. The table says on what device, with how many threads, at
what size and in what dtype it was measured; a search elsewhere refuses it. Parts and networks are
timed in the form that predicts (`switch_to_deploy`). A network's latency is predicted as the
sum of its parts, times what whole networks, drawn at random, take more than that.
The search reports the measured latency of what it found beside the prediction.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import (
    ArgumentParser,
    add_supernet_options,
    progress_bars,
    user_errors,
)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('space', help='the search space: dnas, autodeeplab or densenas')
    parser.add_argument('config', help='of a network of the space')
    parser.add_argument('target', type=Path, help='the table to write')
    parser.add_argument('--size', type=int, default=512, help='of the images (default: 512)')
    parser.add_argument('--threads', type=int, help='default: one a core')
    parser.add_argument('--repeat', type=int, default=15, help='runs of each part (default: 15)')
    parser.add_argument('--base-channels', type=int, help="width (default: the config's)")
    parser.add_argument('--data-root', help='for a config of data alone')
    add_supernet_options(parser)
    args = parser.parse_args()
    with user_errors():
        import torch

        from dnas_mmseg.search.latency import measure_space
        from dnas_mmseg.search.plan import SearchPlan

        torch.set_num_threads(args.threads or torch.get_num_threads())
        plan = SearchPlan(
            args.space,
            config=args.config,
            data_root=args.data_root,
            layers=args.layers,
            base_channels=args.base_channels,
            search_options=args.search_options,
        )
        with progress_bars() as track:
            size = (args.size, args.size)
            table = measure_space(plan, size, args.repeat, track('measuring parts'))
        table.save(args.target)
    print(f'{args.target}: {len(table.values)} parts; {dict(table.facts)}')

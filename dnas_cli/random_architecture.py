"""Sample a random architecture from a search space, as a baseline of a search.

    dnas random-architecture dnas --layers 8 --seed 1 random_1.json
    dnas train work_dirs/search/retrain.py --work-dir work_dirs/random_1 \\
        --cfg-options model.backbone.architecture=random_1.json

The distribution is that of the random networks of `dnas select`.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, add_supernet_options, random_seed, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('space', help='the search space: dnas, autodeeplab or densenas')
    parser.add_argument('out', type=Path, help='JSON file to write')
    parser.add_argument('--seed', type=random_seed, default=0, help='random seed (default: 0)')
    add_supernet_options(parser)
    args = parser.parse_args()
    with user_errors():
        import numpy as np
        from mmengine.registry import init_default_scope

        from dnas_mmseg.search.plan import SearchPlan
        from dnas_mmseg.search.stages import random_architecture

        init_default_scope('mmseg')
        rng = np.random.default_rng(args.seed)
        plan = SearchPlan(args.space, layers=args.layers, search_options=args.search_options)
        architecture = random_architecture(plan, rng, args.out.stem)
        architecture.save(args.out)
    print(
        f'{args.out}: ' + ', '.join(f'{key} {value}' for key, value in architecture.summary.items())
    )

"""Convert a checkpoint of the authors' DNAS code for this package, or back.

    dnas convert-checkpoint model_best.pth.tar dnas_l14.pth \\
        --architecture dnas_l14_gid5
    dnas convert-checkpoint dnas_l14.pth authors.pth.tar \\
        --architecture dnas_l14_gid5 --reverse

Files are read with weights_only=True, which refuses pickles with other content than weights. Cells
that do not affect the output are dropped and listed; --keep-dead keeps them, for DNAS(prune=False)
and for a complete checkpoint on the way back.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .command_line import ArgumentParser, user_errors


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='checkpoint to convert')
    parser.add_argument('target', type=Path, help='checkpoint to write')
    parser.add_argument(
        '--architecture',
        default='dnas_l14_gid5',
        help='name of a published architecture, or JSON file',
    )
    parser.add_argument(
        '--keep-dead', action='store_true', help='keep cells that do not affect the output'
    )
    parser.add_argument('--reverse', action='store_true', help="convert to the authors' keys")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with user_errors():
        import torch

        from dnas_mmseg.engine.checkpoints import load_weights
        from dnas_mmseg.files import atomic_path
        from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture
        from dnas_mmseg.spaces.dnas.authors_checkpoint import from_authors, to_authors
        from dnas_mmseg.spaces.registry import load_for

        architecture = load_for(Path(sys.argv[0]).name, args.architecture, DNASArchitecture, 'cell')
        weights = load_weights(args.source)
        if args.reverse:
            conversion = to_authors(weights, architecture)
            content: dict[str, Any] = {'state_dict': conversion.state_dict}
        else:
            conversion = from_authors(weights, architecture, prune=not args.keep_dead)
            content = {
                'state_dict': conversion.state_dict,
                'meta': {'architecture': architecture.to_document()},
            }
        word = 'missing' if args.reverse else 'dropped'
        for edge in conversion.dropped:
            print(f'{word}, does not affect the output: {edge}')
        if args.reverse and conversion.dropped:
            print("note: the authors' code loads it with load_state_dict(..., strict=False)")
        with atomic_path(args.target) as temporary:
            torch.save(content, temporary)
    print(f'{args.target}: {len(content["state_dict"])} tensors')

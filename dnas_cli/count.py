"""Count parameters, multiply-adds and activations of any config, for any number of bands.

    dnas count dnas_mmseg::dnas/dnas_l12_gid5.py dnas_mmseg::hrnet/fcn_hr18_gid5.py
    dnas count dnas_mmseg::dnas/dnas_l14_gid5.py --paper
    dnas count my_model.py --size 256 --bands 8

Counts with torch's FlopCounterMode: it covers every executed convolution and
matrix product, in modules and functions. Auxiliary heads are excluded. --paper counts by the rules
of the DNAS paper's table: all executed leaf modules, including cells that do not affect the output;
activations are the outputs of modules.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, positive_integer, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs of any mmseg models')
    parser.add_argument(
        '--size', type=positive_integer, default=512, help='side of the image (default: 512)'
    )
    parser.add_argument(
        '--bands', type=positive_integer, help='number of bands (default: that of the config)'
    )
    parser.add_argument('--paper', action='store_true', help='count by the rules of the DNAS paper')
    args = parser.parse_args()
    with user_errors():
        from rich.console import Console
        from rich.table import Table

        from dnas_mmseg.comparison.measuring import complexity
        from dnas_mmseg.engine.configs import load_config

        table = Table(title=f'one image of {args.size} x {args.size}')
        for heading in ('config', 'parameters', 'multiply-adds, G', 'activations, MiB'):
            table.add_column(heading, justify='left' if heading == 'config' else 'right')
        for path in args.configs:
            size = (args.size, args.size)
            cost = complexity(load_config(path), size, args.bands, args.paper)
            macs, mebibytes = cost.macs / 1e9, cost.activations / 2**20
            table.add_row(
                Path(path).stem, f'{cost.parameters:,}', f'{macs:.3f}', f'{mebibytes:.3f}'
            )
        Console().print(table)

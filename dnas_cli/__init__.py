"""The command ``dnas``: one module per subcommand, imported when it is called.

This is a package of its own because importing ``dnas_mmseg`` registers everything, which takes
seconds and needs torch, the stack and GDAL. Modules here import it inside functions, after the
arguments are parsed: ``--help`` answers at once, and ``dnas env`` runs in a broken installation.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version

from .command_line import ArgumentParser

COMMANDS = {
    'From scenes to tiles': {
        'convert': 'cut labelled scenes into tiles (GID-5, or any)',
        'check': 'check every file of a data set, print class shares, mean and std',
        'browse': 'draw what the training pipeline makes of tiles',
    },
    'From tiles to a network': {
        'search': 'search a network: the best for your tiles, or as the papers do',
        'train': 'train a network, resumable; with --seeds several times',
        'test': 'score a checkpoint or an exported network on the test tiles',
        'report': 'draw a search on one page, also while it runs',
        'compare': 'cost, speed, memory and scores of networks, side by side',
    },
    'From a network to maps': {
        'predict': 'map scenes of any size, georeferenced',
        'export': 'write a network as ONNX, or for OpenVINO in eight bits',
        'models': 'the trained models that come with the package',
        'score': 'score maps of scenes against their labels',
        'mistakes': 'show confused classes and the worst tiles',
    },
    'Single steps': {
        'count': 'parameters and multiply-adds of any config',
        'measure-latency': 'measure the parts of a space: the table of a latency target',
        'random-architecture': 'draw a network of a space at random',
        'plot-curves': 'draw how the scores of trainings grew',
        'convert-checkpoint': "take over a checkpoint of the authors' DNAS code, or back",
    },
    'This installation': {
        'demo': 'all of it in a few minutes on made-up scenes, to a picture',
        'env': 'check what is installed; prints what a report of a fault needs',
    },
}

DESCRIPTION = """Search, train and apply segmentation networks on multi-band remote-sensing imagery.

{commands}

dnas COMMAND --help explains a command, with examples. Configs are files, or those that come with
the package: dnas_mmseg::dnas/dnas_l14_gid5.py."""


def main() -> None:
    """Run the subcommand that the command line names."""
    names = [name for group in COMMANDS.values() for name in group]
    parser = ArgumentParser(prog='dnas', description=DESCRIPTION.format(commands=list_commands()))
    parser.add_argument('command', choices=names, metavar='COMMAND', help='one of the above')
    parser.add_argument(
        '--version', action='version', version=f'dnas_mmseg {version("dnas_mmseg")}'
    )
    name = parser.parse_args(sys.argv[1:2]).command
    sys.argv = [f'dnas {name}', *sys.argv[2:]]
    import_module(f'.{name.replace("-", "_")}', __name__).main()


def list_commands() -> str:
    """Return the subcommands as lines by group."""
    width = max(len(name) for group in COMMANDS.values() for name in group)
    lines = []
    for title, group in COMMANDS.items():
        lines += [f'{title}:', *(f'  {name:{width}}  {text}' for name, text in group.items()), '']
    return '\n'.join(lines).rstrip()

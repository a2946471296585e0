"""DNAS for MMSegmentation: architecture search and training on multi-band remote-sensing imagery.

Importing the package registers its modules in mmseg's registries, allows what checkpoints hold
besides tensors in ``torch.load(weights_only=True)``, lets configs inherit from ``mmseg::`` on the
onedl stack, and says how torch's threads share cores with other work unless the environment does
(:mod:`dnas_mmseg.cpus`); it has no other effect.
"""

import os

from .cpus import share_cores
from .stacks import inherit_from_mmseg, without_onedl_note

share_cores(os.environ)  # before torch is imported

with without_onedl_note():
    from . import datasets, engine, evaluation, models, search, spaces, visualization

__version__ = '0.1.0'

engine.allow_checkpoint_globals()
inherit_from_mmseg()

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'search',
    'spaces',
    'visualization',
]

"""DNAS for MMSegmentation: architecture search and training on multi-band remote-sensing imagery.

Importing the package registers its modules in mmseg's registries, and allows what checkpoints hold
besides tensors in ``torch.load(weights_only=True)``; it has no other effect.
"""

from . import datasets, engine, evaluation, models, visualization

__version__ = '0.1.0'

engine.allow_checkpoint_globals()

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models', 'visualization']

"""Registration of everything in mmseg's registries, and of search spaces, by importing this module.

It also allows what checkpoints hold besides tensors in ``torch.load(weights_only=True)``, makes
mmengine read checkpoints in no other way, and lets configs inherit from ``dnas_mmseg::`` and, on
the onedl stack, from ``mmseg::``.
"""

from .stacks import inherit_configs, suppress_onedl_notes

with suppress_onedl_notes():
    from . import datasets, engine, evaluation, models, search, spaces, visualization
    from .spaces.registry import load_plugins

load_plugins()
engine.allow_checkpoint_globals()
engine.register_safe_loaders()
inherit_configs()

__all__ = ['datasets', 'engine', 'evaluation', 'models', 'search', 'spaces', 'visualization']

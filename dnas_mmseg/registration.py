"""Registration of all components in mmseg's registries, and of search spaces, on import.

It also makes mmengine load checkpoints only with ``weights_only=True``, extends torch's allow-list
by the types that checkpoints contain, and lets configs inherit from ``dnas_mmseg::`` and, on the
onedl stack, from ``mmseg::``.
"""

from .stacks import deferred_timm, inherit_configs, quiet_imports

with quiet_imports(), deferred_timm():
    from . import datasets, engine, evaluation, models, search, spaces, visualization
    from .spaces.registry import load_plugins

load_plugins()
engine.allow_checkpoint_globals()
engine.register_safe_loaders()
inherit_configs()

__all__ = ['datasets', 'engine', 'evaluation', 'models', 'search', 'spaces', 'visualization']

"""Registry scope ``dnas_mmseg``, a child of mmseg's scope.

The components of this package are registered in mmseg's registries. mmengine builds a config that
inherits from ``_base_ = 'dnas_mmseg::...'`` in the scope of that name, which falls back to mmseg's.
"""

import mmseg.registry
from mmengine.registry import Registry

SCOPED = [
    Registry(parent.name, parent=parent, scope='dnas_mmseg', locations=['dnas_mmseg'])
    for parent in vars(mmseg.registry).values()
    if isinstance(parent, Registry)
]

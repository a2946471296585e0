"""The scope ``dnas_mmseg`` of mmseg's registries.

Everything here is registered in mmseg's own registries. mmengine builds what a config inherits by
``_base_ = 'dnas_mmseg::...'`` in the scope of that name, a child of mmseg's, which finds all there.
"""

import mmseg.registry
from mmengine.registry import Registry

SCOPED = [
    Registry(parent.name, parent=parent, scope='dnas_mmseg', locations=['dnas_mmseg'])
    for parent in vars(mmseg.registry).values()
    if isinstance(parent, Registry)
]

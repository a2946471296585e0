"""Files that belong to the package but are no modules: configs, tools, the index of models.

An installed package has them in its folder ``.mim``, as mim and mmengine expect
(``_base_ = 'dnas_mmseg::dnas/dnas_l14_gid5.py'``), and a clone in its root.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
MIM = PACKAGE / '.mim'

CONFIGS = (MIM if MIM.is_dir() else PACKAGE.parent) / 'configs'

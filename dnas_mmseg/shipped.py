"""Paths of files distributed with the package: configs, tools, model index.

They are in the folder ``.mim`` of an installed package, as mim and mmengine expect
(``_base_ = 'dnas_mmseg::dnas/dnas_l14_gid5.py'``), and in the root of a clone.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
MIM = PACKAGE / '.mim'

CONFIGS = (MIM if MIM.is_dir() else PACKAGE.parent) / 'configs'

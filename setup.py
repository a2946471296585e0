"""Installation of dnas_mmseg; what it needs is in pyproject.toml.

configs, tools and the index of models go into dnas_mmseg/.mim, where mim and mmengine look for
them (`_base_ = 'dnas_mmseg::dnas/dnas_l14_gid5.py'`): as files in a wheel, and as links in an
editable installation.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    def run(self) -> None:
        super().run()
        mim = (ROOT if self.editable_mode else Path(self.build_lib)) / 'dnas_mmseg/.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in SHIPPED:
            if self.editable_mode:
                link(ROOT / name, mim / name)
            elif (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, mim / name, ignore=shutil.ignore_patterns('__pycache__')
                )
            else:
                shutil.copy(ROOT / name, mim / name)


def link(source: Path, target: Path) -> None:
    """Link, or copy where that is not allowed, as to ordinary users of Windows."""
    try:
        target.symlink_to(os.path.relpath(source, target.parent))
    except OSError:
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


setup(cmdclass={'build_py': BuildWithMim})

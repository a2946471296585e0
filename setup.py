"""Installation of dnas_mmseg; everything it says is in pyproject.toml.

pip install -e .[onedl]        # or [openmmlab]; torch and GDAL as the README says
"""

from setuptools import setup

setup()

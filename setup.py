"""Installation of dnas_mmseg.

pip install -e .[onedl]        # or [openmmlab]; torch and GDAL as the README says
"""

from pathlib import Path

from setuptools import find_packages, setup

# torch's exporter writes by onnxscript; all three take numpy 2 since these.
ONNX = ['onnx>=1.17', 'onnxscript>=0.2', 'onnxruntime>=1.19']

setup(
    name='dnas_mmseg',
    version='0.1.0',
    description='Architecture search and segmentation of multi-band remote-sensing imagery '
    'for MMSegmentation (DNAS)',
    long_description=Path('README.md').read_text(encoding='utf-8')
    if Path('README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['dnas_mmseg', 'dnas_mmseg.*']),
    package_data={
        'dnas_mmseg': ['py.typed'],
        'dnas_mmseg.spaces': ['*/published/*.json'],
        'dnas_mmseg.preparation': ['naip_rgbn_split.csv'],
    },
    python_requires='>=3.10',  # dataclasses with kw_only, zip with strict
    install_requires=[
        'torch>=2.6',  # add_safe_globals takes names: checkpoints of numpy 1 and of numpy 2
        'numpy>=1.26',  # numpy.core is still importable under its old name in pickles
        'scipy>=1.10',  # quantiles of Student's t; mmseg brings it too
        'filelock>=3.12',  # one run a work dir; torch brings it too
        'rich>=13',  # progress with an ETA; mmengine brings it too
    ],
    extras_require={
        # The bindings must match the system's GDAL, so the version is the user's to pin.
        'gdal': ['gdal>=3.4'],
        # The maintained continuation: numpy 2, new torch, no compiled operators needed.
        'onedl': [
            'onedl-mmcv>=2.3',
            'onedl-mmengine>=0.10.12',
            'onedl-mmsegmentation>=1.4',
        ],
        # What most have installed. mmseg 1.2.2 imports mmcv.ops (compiled) and asserts < 2.2.
        'openmmlab': [
            'mmcv>=2.0.0rc4,<2.2',
            'mmengine>=0.10.7',
            'mmsegmentation==1.2.2',
            'ftfy',  # mmseg 1.2.2 imports them without requiring them
            'regex',
            'setuptools<82',  # mmengine 0.10 imports pkg_resources
        ],
        'tensorboard': ['tensorboard>=2.14'],  # search.py --tensorboard; numpy 1.26 and 2
        'onnx': ONNX,
        'dev': [
            *ONNX,
            'pytest>=8',
            'pytest-xdist>=3.2',  # worksteal
            'ruff>=0.9',
            'import-linter>=2',  # layers of the package, in pyproject.toml
            'mypy>=2.4.1',
            'pre-commit>=3',
            'tensorboard>=2.14',
        ],
    },
)

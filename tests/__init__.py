"""Tests run on CPUs even if a GPU is available: they compare bitwise, and fork processes.

``make test-gpu`` enables the GPU for ``test_gpu.py``.
"""

import os

if not os.environ.get('DNAS_TEST_GPU'):
    os.environ['CUDA_VISIBLE_DEVICES'] = ''

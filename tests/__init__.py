"""Tests are of CPUs, also where there is a GPU: they compare to the bit, and fork processes.

``make test-gpu`` shows the GPU to those in ``test_gpu.py``.
"""

import os

if not os.environ.get('DNAS_TEST_GPU'):
    os.environ['CUDA_VISIBLE_DEVICES'] = ''

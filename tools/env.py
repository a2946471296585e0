"""Run :mod:`dnas_cli.env`; ``--help`` explains it."""

import sys

# Like the command `dnas`, it reports missing packages, with which importing dnas_mmseg would fail.
sys.argv[0] = 'dnas'

from dnas_cli.env import main

if __name__ == '__main__':
    main()

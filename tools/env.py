"""Run :mod:`dnas_cli.env`; ``--help`` explains it."""

import sys

# As the command: it says what is missing, and importing the package would fail there.
sys.argv[0] = 'dnas'

from dnas_cli.env import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_mmseg.cli.test`; ``--help`` explains it."""

from dnas_mmseg.cli.test import main

if __name__ == '__main__':
    main()

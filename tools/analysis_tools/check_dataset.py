"""Run :mod:`dnas_mmseg.cli.check`; ``--help`` explains it."""

from dnas_mmseg.cli.check import main

if __name__ == '__main__':
    main()

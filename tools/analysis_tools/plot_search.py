"""Run :mod:`dnas_mmseg.cli.report`; ``--help`` explains it."""

from dnas_mmseg.cli.report import main

if __name__ == '__main__':
    main()

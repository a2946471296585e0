"""Run :mod:`dnas_mmseg.cli.browse`; ``--help`` explains it."""

from dnas_mmseg.cli.browse import main

if __name__ == '__main__':
    main()

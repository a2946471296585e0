"""Run :mod:`dnas_mmseg.cli.count`; ``--help`` explains it."""

from dnas_mmseg.cli.count import main

if __name__ == '__main__':
    main()

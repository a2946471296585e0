"""Run :mod:`dnas_mmseg.cli.search`; ``--help`` explains it."""

from dnas_mmseg.cli.search import main

if __name__ == '__main__':
    main()

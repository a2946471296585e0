"""Run :mod:`dnas_mmseg.cli.convert`; ``--help`` explains it."""

from dnas_mmseg.cli.convert import main

if __name__ == '__main__':
    main()

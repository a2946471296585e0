"""Run :mod:`dnas_mmseg.cli.compare`; ``--help`` explains it."""

from dnas_mmseg.cli.compare import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_mmseg.cli.export`; ``--help`` explains it."""

from dnas_mmseg.cli.export import main

if __name__ == '__main__':
    main()

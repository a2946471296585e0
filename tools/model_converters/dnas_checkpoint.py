"""Run :mod:`dnas_mmseg.cli.convert_checkpoint`; ``--help`` explains it."""

from dnas_mmseg.cli.convert_checkpoint import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_mmseg.cli.score`; ``--help`` explains it."""

from dnas_mmseg.cli.score import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_mmseg.cli.demo`; ``--help`` explains it."""

from dnas_mmseg.cli.demo import main

if __name__ == '__main__':
    main()

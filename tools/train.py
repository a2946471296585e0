"""Run :mod:`dnas_mmseg.cli.train`; ``--help`` explains it."""

from dnas_mmseg.cli.train import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_cli.train`; ``--help`` explains it."""

from dnas_cli.train import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_cli.check`; ``--help`` explains it."""

from dnas_cli.check import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_cli.test`; ``--help`` explains it."""

from dnas_cli.test import main

if __name__ == '__main__':
    main()

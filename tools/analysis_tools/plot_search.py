"""Run :mod:`dnas_cli.report`; ``--help`` explains it."""

from dnas_cli.report import main

if __name__ == '__main__':
    main()

"""Run :mod:`dnas_cli.count`; ``--help`` explains it."""

from dnas_cli.count import main

if __name__ == '__main__':
    main()

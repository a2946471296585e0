"""Run :mod:`dnas_cli.search`; ``--help`` explains it."""

from dnas_cli.search import main

if __name__ == '__main__':
    main()

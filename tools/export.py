"""Run :mod:`dnas_cli.export`; ``--help`` explains it."""

from dnas_cli.export import main

if __name__ == '__main__':
    main()

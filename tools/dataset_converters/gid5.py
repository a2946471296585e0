"""Run :mod:`dnas_cli.convert`; ``--help`` explains it."""

from dnas_cli.convert import main

if __name__ == '__main__':
    main()
